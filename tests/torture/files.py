"""A file of fifty users in each format, what may happen to one of its cells, and a load of whatever file there is."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

import loader
from loader import Job, Rejection
from loader.core.records import MAX_ROW
from loader.datasets import USERS
from loader.export import RejectsWriter
from loader.sources import BLOCK_SIZE

SMALL = 48
"""The size of blocks that hold a row or two."""

COLUMNS = ("id", "name", "email")
Row = tuple[str, ...]
Parts = list[bytes]


def _named(name: Callable[[int], str]) -> list[Row]:
    return [(str(at), name(at), f"u{at}@x.io") for at in range(101, 151)]


@frozen
class Form:
    """A way to write the fifty users; `rows` are those of which each cell is polluted.

    A record is seven parts, of which the second, fourth and sixth are cells; `head` and `tail` stand around all of
    them, and `between` two of them.
    """

    name: str
    ending: str
    users: Sequence[Row]
    parts: Callable[[Row], Parts]
    separator: bytes
    head: bytes
    between: bytes = b"\n"
    tail: bytes = b"\n"
    rows: range = range(50)
    packing: str = ""

    @property
    def records(self) -> list[Parts]:
        return list(map(self.parts, self.users))

    def text(self, records: Sequence[bytes]) -> bytes:
        return self.head + self.between.join(records) + self.tail

    def places(self, records: Sequence[bytes]) -> list[range]:
        """The lines that each record takes; of an array, that counts none, its number."""
        if self.ending == "json":
            return [range(at, at + 1) for at in range(1, len(records) + 1)]
        line, places = 1 + self.head.count(b"\n"), []
        for record in records:
            places.append(range(line, line + 1 + record.count(b"\n")))
            line = places[-1].stop
        return places


def _delimited(delimiter: bytes, quote: bytes = b"") -> Callable[[Row], Parts]:
    def parts(row: Row) -> Parts:
        id_, name, email = (quote + cell.encode() + quote for cell in row)
        return [b"", id_, delimiter, name, delimiter, email, b""]

    return parts


def _object(row: Row) -> Parts:
    id_, name, email = row
    texts = (json.dumps(each).encode() for each in (int(id_), name, email))
    return [part for pair in zip((b'{"id":', b',"name":', b',"email":'), texts, strict=True) for part in pair] + [b"}"]


_PLAIN = _named(lambda at: f"Name {at}")
_QUOTED = _named(lambda at: f"Zoë, {at}" if at % 5 else f"two\nlines, {at}")

FORMS = [
    Form("csv", "csv", _PLAIN, _delimited(b","), b",", b"id,name,email\n", rows=range(0, 50, 3)),
    Form("csv, quoted", "csv", _QUOTED, _delimited(b",", b'"'), b",", b'"id","name","email"\n', rows=range(1, 50, 3)),
    Form("csv, CRLF", "csv", _PLAIN, _delimited(b","), b",", b"id,name,email\r\n", b"\r\n", b"\r\n", range(2, 50, 3)),
    Form("csv, packed", "csv", _PLAIN, _delimited(b","), b",", b"id,name,email\n", packing=".gz"),
    Form("tsv", "tsv", _PLAIN, _delimited(b"\t"), b"\t", b"id\tname\temail\n"),
    Form("ndjson", "ndjson", _PLAIN, _object, b",", b""),
    Form("json", "json", _PLAIN, _object, b",", b"[\n", b",\n", b"\n]\n"),
]

Pollution = Callable[[Form, Parts, int], Parts]
"""What is done to the cell of a record that is its n-th part."""


def _put(parts: Parts, at: int, text: bytes) -> Parts:
    return [*parts[:at], text, *parts[at + 1 :]]


def _inside(parts: Parts, at: int, text: bytes) -> Parts:
    half = len(parts[at]) // 2
    return _put(parts, at, parts[at][:half] + text + parts[at][half:])


def _without_separator(form: Form, parts: Parts, at: int) -> Parts:
    near = at + 1 if at == 1 else at - 1
    return _put(parts, near, parts[near].replace(form.separator, b"", 1))


def _surrogate(form: Form, parts: Parts, at: int) -> Parts:
    return _inside(parts, at, b"\\ud800" if form.ending.endswith("json") else b"\xed\xa0\x80")


POLLUTIONS: Mapping[str, Pollution] = {
    "a stray quote": lambda form, parts, at: _put(parts, at, b'"' + parts[at]),
    "a quote after text": lambda form, parts, at: _put(parts, at, parts[at] + b'"'),
    "a missing separator": _without_separator,
    "an extra separator": lambda form, parts, at: _put(parts, at, parts[at] + form.separator),
    "an invalid byte": lambda form, parts, at: _inside(parts, at, b"\xff"),
    "a NUL": lambda form, parts, at: _inside(parts, at, b"\0"),
    "a lone surrogate": _surrogate,
    "an over-long cell": lambda form, parts, at: _inside(parts, at, b"7" * MAX_ROW),
    "a truncated line": lambda form, parts, at: [*parts[:at], parts[at][: len(parts[at]) // 2]],
    "trailing garbage": lambda form, parts, at: _put(parts, at, parts[at] + b"\x1a"),
}


@frozen
class Outcome:
    """What a load did; `stored` is None if it made no database, `rejected` by line or, without lines, by row."""

    report: loader.Report
    stored: list[Row] | None
    rejected: Mapping[int, Rejection]

    @property
    def problem(self) -> str:
        return str(self.report.tallies["users"].problem or "")


def load(path: Path, directory: Path, block_size: int = BLOCK_SIZE) -> Outcome:
    """Load a file of users into `users.db` of a directory, and the rejected ones into its `rejects`."""
    source = evolve(loader.file_source(path), block_size=block_size)
    rejected: dict[int, Rejection] = {}
    with RejectsWriter(directory / "rejects", {"users": [path]}, check=False) as writer:

        def observe(event: loader.Event) -> None:
            writer(event)
            if isinstance(event, loader.Rejected):
                for each in event.rejections:
                    rejected[each.place.line or each.place.row or 0] = each

        report = loader.run([Job(USERS, source, directory / "users.db")], observe=observe)
    assert not writer.problems
    return Outcome(report, stored(directory / "users.db"), rejected)


def stored(database: Path) -> list[Row] | None:
    """The users that a database holds, as text; None if there is no database."""
    if not database.exists():
        return None
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id, name, email FROM users ORDER BY id")
        return [(str(id_), name, email) for id_, name, email in rows]


def rejects_in(path: Path) -> list[dict[str, Any]]:
    """The rows of a rejects file, with what is no UTF-8 as lone surrogates."""
    text = path.read_bytes().decode(errors="surrogateescape")
    if path.suffix == ".json":
        return list(json.loads(text))
    if path.suffix == ".ndjson":
        return [json.loads(line) for line in text.split("\n") if line]
    csv.field_size_limit(2**24)
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(path), strict=True))


def write_rejects(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows where rejects stood, as an editor would."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=_delimiter(path))
            writer.writeheader()
            writer.writerows(rows)


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","
