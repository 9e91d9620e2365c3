"""Malformed input: whatever is done to a file costs the rows that it is done to, or the file is refused as a whole."""

import csv
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import frozen

from loader.cli import main
from loader.core.records import MAX_ROW
from loader.sources import BLOCK_SIZE
from loader.sources import csv as sources_csv
from loader.sources.packings import zstd
from tests.sources import packed
from tests.test_cli import command, environment
from tests.torture import TRIED, some, warm
from tests.torture.ends import HANG
from tests.torture.files import (
    COLUMNS,
    FORMS,
    POLLUTIONS,
    SMALL,
    Form,
    Outcome,
    load,
    rejects_in,
    write_rejects,
)
from tests.torture.sharing import share
from tests.torture.test_hostile import broken

CELLS = "cells damaged, each in a file of its own"

# --- every cell, every format ----------------------------------------------------------------------------------------

CODES = {
    "a stray quote": "row-error",
    "a quote after text": "row-error",
    "an invalid byte": "row-error",
    "an over-long cell": "row-error",
}
"""The code of the first reason, where it is the same in every format."""


def is_json(text: bytes) -> bool:
    """Whether Python's json takes it."""
    try:
        json.loads(text.decode())
    except ValueError:
        return False
    return True


def original(form: Form, text: bytes, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the rejects should say of a text: the cells that Python finds in it, or as much as is kept of its lines."""
    if not any(row.get("_raw") for row in rows):
        if form.ending.endswith("json"):
            return [json.loads(text)[name] for name in COLUMNS]
        stream = io.StringIO(text.decode(errors="surrogateescape"), newline="")
        [cells] = csv.reader(stream, delimiter=form.separator.decode(), strict=True)
        return cells
    return [line[: MAX_ROW + 1] for line in text.split(b"\n")]


def kept(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the rejects do say of it."""
    if not any(row.get("_raw") for row in rows):
        return [row[name] for row in rows for name in COLUMNS]
    return "\n".join(row["_raw"] for row in rows).encode(errors="surrogateescape").split(b"\n")


def check_pollution(form: Form, pollution: str, row: int, column: int, directory: Path, size: int) -> None:
    texts = [b"".join(parts) for parts in form.records]
    clean = texts[row]
    TRIED[CELLS] += 1
    texts[row] = b"".join(POLLUTIONS[pollution](form, form.records[row], 2 * column + 1))
    text = form.text(texts)
    path = directory / f"users.{form.ending}{form.packing}"
    path.write_bytes(packed(text, form.packing) if form.packing else text)
    outcome = load(path, directory, size)
    if form.ending == "json" and not is_json(text):
        check_refused(outcome, directory, "JSON array|thousands of digits")
        return
    others = [user for at, user in enumerate(form.users) if at != row]
    lines = form.places(texts)[row]
    assert outcome.stored == others
    assert min(outcome.rejected) == lines.start
    assert set(outcome.rejected) <= set(lines)
    if pollution in CODES:
        assert outcome.rejected[lines.start].reasons[0].code == CODES[pollution]
    rejects = directory / "rejects" / f"users.{form.ending}"
    rows = rejects_in(rejects)
    assert kept(rows) == original(form, texts[row], rows)
    write_rejects(rejects, [mended(rows[0], form, row, clean)])
    again = load(rejects, directory, size)
    assert again.report.status == "complete"
    assert again.stored == list(form.users)
    assert not rejects.exists()


def mended(row: Mapping[str, Any], form: Form, at: int, clean: bytes) -> Mapping[str, Any]:
    """A row of a rejects file in which somebody has written what should stand there."""
    if row.get("_raw"):
        return {**row, "_raw": clean.decode()}
    return {**row, **dict(zip(COLUMNS, form.users[at], strict=True))}


def check_refused(outcome: Outcome, directory: Path, words: str) -> None:
    """The file is refused as a whole, in one of these words and by its name, before anything is written."""
    assert outcome.report.status == "failed"
    assert outcome.report.totals.read == 0
    assert outcome.stored is None
    assert re.fullmatch(rf"{re.escape(str(directory))}/users\.[^\n]*({words})[^\n]*", outcome.problem)
    assert not (directory / "rejects").exists()


@pytest.mark.parametrize("pollution", POLLUTIONS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_only_the_polluted_row_is_rejected(form: Form, pollution: str, tmp_path: Path) -> None:
    """Wherever one cell of a file is broken, its row is refused at its line, as it stood; mended, it is stored."""
    cells = [(row, column) for row in form.rows for column in range(3)]

    def check(case: tuple[int, tuple[int, int]]) -> None:
        at, (row, column) = case
        size = SMALL if at % 4 == 1 and pollution != "an over-long cell" else BLOCK_SIZE
        place = tmp_path / str(at)
        place.mkdir()
        check_pollution(form, pollution, row, column, place, size)
        shutil.rmtree(place)

    share(check, [*enumerate(some(cells, 1))])


CELLS_OF_PARQUET = {"nothing": None, "a NUL": "a\0b", "an over-long cell": "7" * MAX_ROW, "a blank": " "}


@pytest.mark.parametrize("pollution", CELLS_OF_PARQUET)
def test_only_the_polluted_row_of_parquet_is_rejected(pollution: str, tmp_path: Path) -> None:
    """A file of Parquet has no lines, and no text of its own; all the same its row is refused, kept, and mended."""
    users = FORMS[0].users
    cells = [(row, column) for row in range(50) for column in range(3)]

    def check(cell: tuple[int, int]) -> None:
        TRIED[CELLS] += 1
        row, column = cell
        place = tmp_path / f"{row} {column}"
        place.mkdir()
        path = place / "users.parquet"
        columns = [list(each) for each in zip(*users, strict=True)]
        columns[column][row] = CELLS_OF_PARQUET[pollution]
        pq.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), path)
        outcome = load(path, place)
        assert outcome.stored == [user for at, user in enumerate(users) if at != row]
        assert {at: each.place.row for at, each in outcome.rejected.items()} == {row + 1: row + 1}
        rejects = place / "rejects/users.ndjson"
        [kept] = rejects_in(rejects)
        if pollution == "an over-long cell":
            assert len(kept["_raw"]) > MAX_ROW
        else:
            assert [kept[name] for name in COLUMNS] == [each[row] for each in columns]
        clean = json.dumps(dict(zip(COLUMNS, users[row], strict=True)))
        write_rejects(rejects, [mended(kept, FORMS[0], row, clean.encode())])
        assert load(rejects, place).stored == list(users)
        assert not rejects.exists()
        shutil.rmtree(place)

    share(check, some(cells, 1))


# --- whole files -----------------------------------------------------------------------------------------------------


@frozen
class File:
    """A file; the keys of its rows that are stored, and the lines of those that are not, or why it is refused."""

    name: str
    data: bytes
    keys: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()
    refusal: str = ""


def csv_(*keys: int, end: str = "\n") -> str:
    return "".join(f"{key},Name,u{key}@x.io{end}" for key in keys)


def object_(key: object, name: str = '"Name"') -> str:
    return f'{{"id":{key},"name":{name},"email":"u{key}@x.io"}}'


HEAD = "id,name,email\n"
DEEP = "[" * 100_000 + "]" * 100_000
DEEP_OBJECT = '{"a":' * 100_000 + "1" + "}" * 100_000
SQLITE = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20\0\0\0\x02\n"
ZIP = b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(range(256))
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01"

FILES: Mapping[str, File] = {
    # CSV
    "empty": File("users.csv", b"", refusal="is empty"),
    "a mark alone": File("users.csv", b"\xef\xbb\xbf", refusal="is empty"),
    "blank lines alone": File("users.csv", b"\n\r\n\n", refusal="blank lines"),
    "NULs alone": File("users.csv", bytes(5_000), refusal="lacks"),
    "header only": File("users.csv", HEAD.encode()),
    "header only, unended": File("users.csv", HEAD.strip().encode()),
    "a byte order mark": File("users.csv", ("\ufeff" + HEAD + csv_(1, 2)).encode(), (1, 2)),
    "two byte order marks": File("users.csv", ("\ufeff\ufeff" + HEAD + csv_(1)).encode(), refusal="lacks"),
    "a byte order mark within": File("users.csv", (HEAD + csv_(1) + "\ufeff" + csv_(2, 3)).encode(), (1, 3), (3,)),
    "UTF-16": File("users.csv", (HEAD + csv_(1)).encode("utf-16"), refusal="is UTF-16"),
    "UTF-16 without a mark": File("users.csv", (HEAD + csv_(1)).encode("utf-16-le"), refusal="lacks"),
    "UTF-32": File("users.csv", (HEAD + csv_(1)).encode("utf-32"), refusal="is UTF-16|lacks"),
    "EBCDIC": File("users.csv", (HEAD + csv_(1)).encode("cp037"), refusal="the header cannot be decoded"),
    "CR": File("users.csv", (HEAD + csv_(1, 2)).replace("\n", "\r").encode(), refusal="are there no line feeds"),
    "CRLF": File("users.csv", (HEAD + csv_(1, 2)).replace("\n", "\r\n").encode(), (1, 2)),
    "mixed line ends": File(
        "users.csv", (HEAD + csv_(1, end="\r\n") + csv_(2) + csv_(3, end="\r\n")).encode(), (1, 2, 3)
    ),
    "a CR that ends a line": File(
        "users.csv", (HEAD + csv_(1) + csv_(2, end="\r") + csv_(3) + csv_(4)).encode(), (1, 4), (3,)
    ),
    "two CRs at an end": File("users.csv", (HEAD + csv_(1, end="\r\r\n") + csv_(2)).encode(), (2,), (2,)),
    "embedded newlines": File(
        "users.csv", (HEAD + '1,"a\nb\r\nc",a@x.io\n0,"a\n\n",b@x.io\n' + csv_(3)).encode(), (1, 3), (5,)
    ),
    "no final newline": File("users.csv", (HEAD + csv_(1, 2)).strip().encode(), (1, 2)),
    "a quote that never ends": File(
        "users.csv", (HEAD + csv_(1) + '2,"Name,u2@x.io\n' + csv_(3)).encode(), (1, 3), (3,)
    ),
    "a quote at the very end": File("users.csv", (HEAD + csv_(1) + '2,Name,"').encode(), (1,), (3,)),
    "blank lines": File("users.csv", (HEAD + "\n\n" + csv_(1) + "\n\r\n" + csv_(2) + "\n\n").encode(), (1, 2)),
    "lines of blanks": File("users.csv", (HEAD + csv_(1) + "  \n\t\n" + csv_(2)).encode(), (1, 2), (3, 4)),
    "a line of separators": File("users.csv", (HEAD + ",,\n" + csv_(1)).encode(), (1,), (2,)),
    "a column twice": File("users.csv", ("id,name,email,name\n" + csv_(1)).encode(), refusal="more than once"),
    "a column too many": File("users.csv", ("id,name,email,age\n" + csv_(1)).encode(), refusal="names 'age'"),
    "a column too few": File("users.csv", ("id,name\n" + csv_(1)).encode(), refusal="lacks 'email'"),
    "columns without names": File("users.csv", (",,\n" + csv_(1)).encode(), refusal="more than once"),
    "no header": File("users.csv", csv_(1, 2).encode(), refusal="lacks"),
    "a quote in the header": File("users.csv", ('id,"name,email\n' + csv_(1)).encode(), refusal="not a header"),
    "a header of many lines": File("users.csv", ('"id","na\nme",email\n' + csv_(1)).encode(), refusal="lacks"),
    "the header again": File("users.csv", (HEAD + csv_(1) + HEAD + csv_(2)).encode(), (1, 2), (3,)),
    "semicolons": File("users.csv", (HEAD + csv_(1)).replace(",", ";").encode(), refusal="say --delimiter"),
    "2**63 - 1": File("users.csv", (HEAD + csv_(2**63 - 1)).encode(), (2**63 - 1,)),
    "2**63": File("users.csv", (HEAD + csv_(2**63, 1, 2**64, -1, 10**30)).encode(), (1,), (2, 4, 5, 6)),
    "thousands of digits": File("users.csv", (HEAD + csv_(1) + "9" * 9_000 + ",a,b@x.io\n").encode(), (1,), (3,)),
    # JSON
    "empty array": File("users.json", b"[]"),
    "empty JSON": File("users.json", b"", refusal="is empty"),
    "blank JSON": File("users.json", b" \n", refusal="JSON array"),
    "array of others": File("users.json", f'[1,null,"a",[],{object_(1)},{{}}]'.encode(), (1,), (1, 2, 3, 4, 6)),
    "array of a mark": File("users.json", f"\ufeff[{object_(1)}]".encode(), (1,)),
    "array in UTF-16": File("users.json", f"[{object_(1)}]".encode("utf-16"), refusal="is UTF-16"),
    "array without an end": File("users.json", f"[{object_(1)},{object_(2)}".encode(), refusal="JSON array"),
    "array with a comma too many": File("users.json", f"[{object_(1)},]".encode(), refusal="JSON array"),
    "two arrays": File("users.json", f"[{object_(1)}][{object_(2)}]".encode(), refusal="JSON array"),
    "array and NULs": File("users.json", f"[{object_(1)}]\0\0".encode(), refusal="JSON array"),
    "one object": File("users.json", object_(1).encode(), refusal="not a JSON array"),
    "NaN in an array": File("users.json", f"[{object_(1)},{object_('NaN')}]".encode(), refusal="JSON array"),
    "Infinity in an array": File("users.json", f"[{object_(1)},{object_('-Infinity')}]".encode(), refusal="JSON array"),
    "2**63 in an array": File("users.json", f"[{object_(2**63)},{object_(2**63 - 1)}]".encode(), (2**63 - 1,), (1,)),
    "1e400 in an array": File("users.json", f"[{object_('1e400')},{object_(1)}]".encode(), (1,), (1,)),
    "a member twice in an array": File("users.json", f'[{object_(1)},{{"id":2,{object_(3)[1:]}]'.encode(), (1,), (2,)),
    "deep array": File("users.json", f"[{object_(1)},{DEEP},{object_(2)}]".encode(), (1, 2), (2,)),
    "deep objects": File("users.json", f"[{DEEP_OBJECT},{object_(1)}]".encode(), (1,), (1,)),
    "deep value": File("users.json", f"[{object_(1)},{object_(2, DEEP)},{object_(3)}]".encode(), (1, 3), (2,)),
    "deep and unended": File("users.json", b"[" * 100_000, refusal="JSON array"),
    # NDJSON
    "empty NDJSON": File("users.ndjson", b"", refusal="is empty"),
    "blank NDJSON": File("users.ndjson", b"\n \n\r\n"),
    "NDJSON with a mark": File("users.ndjson", f"\ufeff{object_(1)}\n".encode(), (1,)),
    "NDJSON with a mark within": File("users.ndjson", f"{object_(1)}\n\ufeff{object_(2)}\n".encode(), (1,), (2,)),
    "NDJSON with CRLF": File("users.ndjson", f"{object_(1)}\r\n\r\n{object_(2)}".encode(), (1, 2)),
    "NDJSON with CR": File("users.ndjson", f"{object_(1)}\r{object_(2)}\n{object_(3)}\n".encode(), (3,), (1,)),
    "NDJSON with NaN": File(
        "users.ndjson", f"{object_('NaN')}\n{object_(1)}\n{object_('Infinity')}".encode(), (1,), (1, 3)
    ),
    "NDJSON with 2**63": File("users.ndjson", f"{object_(2**63)}\n{object_(1)}\n".encode(), (1,), (1,)),
    "NDJSON with digits": File("users.ndjson", f"{object_('9' * 9_000)}\n{object_(1)}\n".encode(), (1,), (1,)),
    "NDJSON with a member twice": File("users.ndjson", f'{{"id":2,{object_(3)[1:]}\n{object_(1)}'.encode(), (1,), (1,)),
    "deep NDJSON": File("users.ndjson", f"{DEEP}\n{object_(1)}\n{object_(2, DEEP)}".encode(), (1,), (1, 3)),
    "deep NDJSON objects": File("users.ndjson", f"{DEEP_OBJECT}\n{object_(1)}\n".encode(), (1,), (1,)),
    # what is not what its name says
    "JSON as CSV": File("users.csv", f"[{object_(1)}]".encode(), refusal="not a header"),
    "CSV as JSON": File("users.json", (HEAD + csv_(1)).encode(), refusal="not a JSON array"),
    "NDJSON as JSON": File("users.json", f"{object_(1)}\n{object_(2)}".encode(), refusal="not a JSON array"),
    "JSON as NDJSON": File("users.ndjson", f"[\n{object_(1)},\n{object_(2)}\n]\n".encode(), (2,), (1, 2, 4)),
    "CSV as NDJSON": File("users.ndjson", (HEAD + csv_(1)).encode(), (), (1, 2)),
    "CSV as TSV": File("users.tsv", (HEAD + csv_(1)).encode(), refusal="lacks"),
    "CSV as gzip": File("users.csv.gz", (HEAD + csv_(1)).encode(), refusal="not an undamaged gzip file"),
    "gzip as CSV": File("users.csv", gzip.compress((HEAD + csv_(1)).encode()), refusal="is compressed by gzip"),
    "gzip as JSON": File("users.json", gzip.compress(f"[{object_(1)}]".encode()), refusal="is compressed by gzip"),
    "gzip in gzip": File(
        "users.csv.gz", gzip.compress(gzip.compress((HEAD + csv_(1)).encode())), refusal="is compressed by gzip"
    ),
    "zstd as gzip": File("users.csv.gz", packed(HEAD.encode(), ".zst"), refusal="not an undamaged gzip file"),
    "gzip of nothing": File("users.csv.gz", gzip.compress(b""), refusal="is empty"),
    "gzip that is empty": File("users.csv.gz", b"", refusal="is empty"),
    "an SQLite database as CSV": File("users.csv", SQLITE, refusal="lacks|header"),
    "a ZIP archive as CSV": File("users.csv", ZIP, refusal="header"),
    "a ZIP archive as NDJSON": File("users.ndjson", ZIP.replace(b"\n", b""), (), (1,)),
    "a picture as CSV": File("users.csv", PNG, refusal="header"),
    "a picture as JSON": File("users.json", PNG, refusal="not a JSON array"),
    "CSV as Parquet": File("users.parquet", (HEAD + csv_(1)).encode(), refusal="not an undamaged Parquet file"),
}


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_file_of_any_form(file: File, tmp_path: Path) -> None:
    """Just the rows that are not in order are rejected; or the file is refused, and nothing is made of it."""
    TRIED["malformed files"] += 1
    path = tmp_path / file.name
    path.write_bytes(file.data)
    for size in (BLOCK_SIZE, SMALL) if len(file.data) < 10_000 else (BLOCK_SIZE,):
        outcome = load(path, tmp_path, size)
        if file.refusal:
            check_refused(outcome, tmp_path, file.refusal)
        else:
            assert [int(key) for key, _, _ in outcome.stored or ()] == list(file.keys)
            assert tuple(outcome.rejected) == file.lines
        (tmp_path / "users.db").unlink(missing_ok=True)


@pytest.mark.parametrize("file", some([*FILES.values()], 8), ids=lambda file: file.name)
def test_the_command_tells_of_a_file_in_a_line_or_two(
    file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whether rows or the file were refused, and there is a message, but no traceback."""
    monkeypatch.chdir(tmp_path)
    Path(file.name).write_bytes(file.data)
    assert main(["--export", "none", "-q", f"users={file.name}"]) == (3 if file.refusal else 1 if file.lines else 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    if file.refusal:
        [line] = err.splitlines()
        assert line.startswith(f"loader: {file.name}")
    else:
        assert err == ""
    assert len(max(out.splitlines(), key=len)) < 1_000


# --- compressed files ------------------------------------------------------------------------------------------------

CSV_TEXT = FORMS[0].text([b"".join(parts) for parts in FORMS[0].records])
JSON_TEXT = FORMS[-1].text([b"".join(parts) for parts in FORMS[-1].records])
PACKED = {
    "users.csv.gz": packed(CSV_TEXT, ".gz"),
    "users.json.gz": packed(JSON_TEXT, ".gz"),
    "users.csv.zst": packed(CSV_TEXT, ".zst"),
}


def python_reads(name: str, data: bytes) -> bytes | None:
    """What Python's own library makes of a compressed file; None if it refuses it."""
    try:
        return gzip.decompress(data) if name.endswith(".gz") else bytes(zstd().decompress(data))
    except (OSError, EOFError, zlib.error, zstd().ZstdError):
        return None


def damaged(data: bytes) -> Iterator[bytes]:
    """A file cut off anywhere, with another byte anywhere, and with something behind it."""
    for at in range(len(data)):
        yield data[:at]
        yield data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
    yield from (data + tail for tail in (b"\0", b"x", data[:20], data + b"\n"))


@pytest.mark.parametrize("name", PACKED)
def test_nothing_of_a_damaged_archive_is_stored(name: str, tmp_path: Path) -> None:
    """Whatever byte is wrong or lacking, the file is refused before a row of it is stored, if Python refuses it too."""
    whole = python_reads(name, PACKED[name])

    def is_refused(data: bytes) -> bool:
        place = tmp_path / f"{os.getpid()}"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
        TRIED["compressed files with a byte wrong or lacking"] += 1
        outcome = load(place / name, place, SMALL)
        if python_reads(name, data) == whole:
            assert outcome.stored == FORMS[0].users
            (place / "users.db").unlink()
            return False
        check_refused(outcome, place, "undamaged|is empty|is compressed by|JSON array")
        return True

    assert sum(share(is_refused, some([*damaged(PACKED[name])], 40))) > 30


def bomb(path: Path, *parts: tuple[bytes, int]) -> int:
    """Write a gzip file of texts, each many times over; how many bytes it unpacks to."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        for text, times in parts:
            for _ in range(times):
                file.write(text)
    return sum(len(text) * times for text, times in parts)


MIB = 2**20
SMALL_BOMB, LARGE = 8, 80  # MiB
ROW = b'1,"' + b"N" * (MIB // 2) + b'",a@x.io\n'
OBJECT = b'{"id":1,"name":"' + b"N" * (MIB // 2) + b'","email":"a@x.io"}'
BOMBS: Mapping[str, tuple[str, Callable[[int], Sequence[tuple[bytes, int]]], int]] = {
    "an endless line": ("users.csv.gz", lambda size: [(HEAD.encode(), 1), (b"x" * MIB, size)], 1),
    "an endless quote": ("users.csv.gz", lambda size: [(HEAD.encode() + b'1,"', 1), (b"x" * MIB, size)], 1),
    "an endless header": ("users.csv.gz", lambda size: [(b"x" * MIB, size)], 3),
    "valid objects": ("users.json.gz", lambda size: [(b"[" + OBJECT, 1), (b"," + OBJECT, 2 * size), (b"]", 1)], 0),
    "an endless string": ("users.json.gz", lambda size: [(b'["', 1), (b"x" * MIB, size), (b'"]', 1)], 3),
    "an endless number": ("users.json.gz", lambda size: [(b"[", 1), (b"7" * MIB, size), (b"]", 1)], 3),
    "an endless gap": ("users.json.gz", lambda size: [(b"[", 1), (b" " * MIB, size), (b"]", 1)], 3),
    "an endless element": (
        "users.json.gz",
        lambda size: [(b"[[1", 1), (b',"' + ROW[3:-10] + b'"', 2 * size), (b"]]", 1)],
        1,
    ),
    "an endless object": ("users.ndjson.gz", lambda size: [(b'{"id":', 1), (b" " * MIB, size), (b"1}\n", 1)], 1),
    "valid rows": ("users.csv.gz", lambda size: [(HEAD.encode(), 1), (ROW, 2 * size)], 0),
}


def peak(path: Path, size: int, parts: Callable[[int], Sequence[tuple[bytes, int]]]) -> tuple[int, int]:
    """How a load of a bomb of so many MiB ends, and how many bytes of memory it has taken at most."""
    unpacked = bomb(path, *parts(size))
    if size == LARGE:
        assert unpacked > 700 * path.stat().st_size
    flags = ["-qq", "--export", "none", "--rejects", "none", "--jobs", "0"]
    child = subprocess.Popen(command(*flags, f"users={path.name}"), env=environment(), cwd=path.parent)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    for left in path.parent.glob("users.db*"):
        left.unlink()
    return child.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("kind", some([*BOMBS], 1))
def test_a_bomb_does_not_fill_the_memory(kind: str, tmp_path: Path) -> None:
    """A file that unpacks to a thousand times its size takes no more memory than a small one of the same form."""
    TRIED["compressed bombs"] += 1
    name, parts, code = BOMBS[kind]

    def of(size: int) -> tuple[int, int]:
        place = tmp_path / str(size)
        place.mkdir()
        return peak(place / name, size, parts)

    small, large = share(of, (SMALL_BOMB, LARGE), worth=1)
    assert (small[0], large[0]) == (code, code)
    assert large[1] < small[1] + 32 * MIB


BLANK, QUOTE = "\n", '"'
TRAPS: Mapping[str, tuple[str, str]] = {
    "a cell of blank lines": ("users.csv", f'{HEAD}1,"{BLANK * 900_000}",a@x.io\n'),
    "a quote before many lines": ("users.csv", f'{HEAD}1,"Name,a@x.io\n{csv_(*range(2, 20_000))}'),
    "a quote in each line": ("users.csv", HEAD + csv_(*range(1, 20_000)).replace("Name", '"Name')),
    "a line end in each row": ("users.csv", HEAD + csv_(*range(1, 10_000)).replace("Name", '"Na\nme"x')),
    "a row of commas": ("users.csv", f"{HEAD}{',' * 900_000}\n"),
    "a gap in an object": ("users.ndjson", f'{{"id":1,{" " * 900_000}"name"\n'),
    "a row of quotes": ("users.ndjson", f"{QUOTE * 900_000}\n"),
    "a row of braces": ("users.ndjson", f"{'{' * 900_000}\n"),
    "a gap in an array": ("users.json", f"[{' ' * 900_000}1,{' ' * 900_000}{{}}]"),
}


@pytest.mark.parametrize("kind", some([*TRAPS], 3))
def test_no_text_takes_for_ever(kind: str, tmp_path: Path) -> None:
    """What a pattern could go over again and again is told in time: within ten seconds, for which it takes one."""
    TRIED["texts that invite a search without an end"] += 1
    name, text = TRAPS[kind]
    (tmp_path / name).write_text(text)
    done = warm.run("loader", "-qq", "-d", ".", "users", env=environment(), timeout=HANG, cwd=tmp_path)
    assert done.returncode == 1, done.stderr


# --- teeth -----------------------------------------------------------------------------------------------------------

QUOTES = ["a stray quote", "a quote after text"]


def check_quotes(directory: Path) -> None:
    for at, form in enumerate(form for form in FORMS if form.separator != b"," or form.ending == "csv"):
        for pollution in QUOTES:
            case = directory / f"{at} {pollution}"
            case.mkdir()
            check_pollution(form, pollution, form.rows[3], 1, case, SMALL)


def check_strictness() -> None:
    for line in ('1,"a"b,c', '1,"a""b,c'):
        with pytest.raises(csv.Error):
            sources_csv._split([line], ",")


def test_malformed_csv_is_kept_out_twice(tmp_path: Path) -> None:
    """The grammar lets no malformed line pass, and the csv module, which splits what has passed, would not take one."""
    check_quotes(tmp_path)
    check_strictness()


def test_csv_without_strictness_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `strict` off the grammar still keeps out what is malformed, and the check of the second guard fails."""
    broken("strict off in csv", monkeypatch)
    check_quotes(tmp_path)
    with pytest.raises(pytest.fail.Exception):
        check_strictness()


@pytest.mark.parametrize("others", [[], ["strict off in csv"]], ids=["strict", "not strict"])
def test_csv_without_its_grammar_is_caught(others: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the grammar a malformed line is a bug that ends the load; without both guards it would be taken."""
    for name in ("grammar off in csv", *others):
        broken(name, monkeypatch)
    with pytest.raises(AssertionError if others else csv.Error):
        check_quotes(tmp_path)
