"""What a program that was killed has left beside a database is put in order before that is used.

SQLite undoes what was cut off by a journal. Those of a transaction over several databases name a file that lists them
all: while it is there, each of them is to be undone; once it is gone, all is stored.
"""

import glob
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

_JOURNAL = "-journal"


def recover(path: Path) -> None:
    """Undo a transaction that was cut off, if there is one; whatever hinders that is told by who uses the database.

    It is done here, so that one database comes after the other: SQLite takes it for a fault of the disk if one of the
    journals of a list goes while it looks for another.
    """
    path = path.resolve()  # beside which SQLite keeps them
    if _journal(path).exists():
        _is_in_order(path)
    for listing in path.parent.glob(f"{glob.escape(path.name)}-mj*"):
        with suppress(OSError):  # another load may put it in order as well
            journals = [Path(os.fsdecode(name)) for name in listing.read_bytes().split(b"\0") if name]
            if all(_is_in_order(each.with_name(each.name.removesuffix(_JOURNAL))) for each in journals):
                listing.unlink()


def _is_in_order(path: Path) -> bool:
    """Whether a database can be read, which undoes what was cut off; a transaction that goes on keeps others out."""
    if not path.exists():
        return not _journal(path).exists()
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.Error:
        return False
    return True


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}{_JOURNAL}")
