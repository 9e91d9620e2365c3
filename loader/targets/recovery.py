"""What a program that was killed has left beside a database is put in order before that is used.

SQLite undoes what was cut off by a journal. Those of a transaction over several databases name a file that lists them
all: while it is there, each of them is to be undone; once it is gone, all is stored.
"""

import glob
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from threading import Lock

from loader.targets import to_its_end
from loader.threads import in_thread

_JOURNAL = "-journal"

_turn = Lock()
"""One database comes after the other: SQLite takes it for a fault of the disk if one of the journals of a list goes
while it looks for another."""


async def recover(*paths: Path) -> None:
    """Undo transactions that were cut off, if there are any; what hinders that is told by who uses the database."""
    await to_its_end(in_thread(partial(_recover, paths)))


def _recover(paths: Iterable[Path]) -> None:
    for path in paths:
        with _turn:
            _put_in_order(Path(os.path.realpath(path)))  # beside which SQLite keeps its journals


def _put_in_order(path: Path) -> None:
    if _journal(path).exists():
        _is_in_order(path)
    for listing in filter(Path.is_file, path.parent.glob(f"{glob.escape(path.name)}-mj*")):
        with suppress(OSError):  # another load may put it in order as well
            journals = [Path(os.fsdecode(name)) for name in listing.read_bytes().split(b"\0") if name]
            named = [each.with_name(each.name.removesuffix(_JOURNAL)) for each in journals]  # none yet, perhaps
            if all(map(_is_in_order, [path, *named])):
                listing.unlink()


def _is_in_order(path: Path) -> bool:
    """Whether a database can be read, which undoes what was cut off; a transaction that goes on keeps others out."""
    journal = _journal(path)
    if not path.exists() or (journal.exists() and not journal.is_file()):
        return not journal.exists()
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.Error:
        return False
    return True


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}{_JOURNAL}")
