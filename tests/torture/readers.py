"""What holds of every file, whatever bytes it is made of: the laws of the readers, told by Python's own."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loader.core.errors import SourceError
from loader.core.parsing import parse
from loader.core.records import MAX_ROW
from loader.core.values import Number
from loader.datasets import USERS
from tests.sources import Reading, read_path
from tests.torture import new_place
from tests.torture.strings import is_whole

CORPUS = Path(__file__).with_name("corpus")
SIZES = (2**18, 64, 7)
COLUMNS = ("id", "name", "email")


def check(ending: str, data: bytes) -> None:
    """Read a file of users in blocks of several sizes; whatever is in it, no law is broken."""
    with new_place() as directory:
        path = directory / f"users.{ending}"
        path.write_bytes(data)
        whole, *others = [_read(path, size) for size in SIZES]
    assert all(_told(other) == _told(whole) for other in others)
    if isinstance(whole, Reading):
        _check_rows(whole)
    text = data.removeprefix(b"\xef\xbb\xbf")
    CHECKS[ending](text, whole)


def _read(path: Path, size: int) -> Reading | str:
    """The rows of a file, or why it is refused."""
    try:
        return read_path(path, block_size=size)
    except SourceError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert str(path) in refusal
    return refusal


def _told(reading: Reading | str) -> object:
    return reading if isinstance(reading, str) else reading.rows


def _check_rows(reading: Reading) -> None:
    """Rows and misfits stand at lines of their own, each can be quoted, and the model has a say on each."""
    rows = reading.rows
    lines = sorted([*rows.lines, *(misfit.line for misfit in rows.misfits)])
    assert len(set(lines)) == len(lines)
    for block in reading.blocks:
        batch = parse(USERS, reading.reader, block)
        told = sorted([*batch.lines, *(draft.line for draft in batch.drafts)])
        assert told == [line for line in lines if block.line <= line < block.line + block.data.count(b"\n")]
        assert len(list(reading.reader.values(block, batch.spans(told)))) == len(told)


def _raw(reading: Reading, line: int) -> str:
    """The text of a misfit, as the rejects keep it."""
    for block in reading.blocks:
        if block.line <= line < block.line + block.data.count(b"\n"):
            rows = parse(USERS, reading.reader, block)
            [values] = reading.reader.values(block, rows.spans([line]))
            return str(values.get("_raw", ""))
    raise AssertionError(f"line {line} is in no block")


def _check_csv(data: bytes, reading: Reading | str) -> None:
    """If all of it is taken, Python's csv takes it, and finds the same cells; what is refused keeps its bytes."""
    if isinstance(reading, str):
        return
    lines = data.split(b"\n")
    for misfit in reading.rows.misfits:
        raw = _raw(reading, misfit.line).encode(errors="surrogateescape")
        assert raw.startswith(lines[misfit.line - 1].rstrip(b"\r")[:MAX_ROW]), misfit
    if not reading.rows.misfits and reading.columns == reading.reader.header:  # type: ignore[attr-defined]
        table = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
        header, *rows = [row for row in table if row]
        order = [header.index(name) for name in COLUMNS]
        assert [tuple(row[at] for at in order) for row in rows] == reading.cells


def _check_ndjson(data: bytes, reading: Reading | str) -> None:
    """A line is taken if, and only if, Python's json finds an object with these members there, and none twice."""
    if isinstance(reading, str):
        return
    cells = dict(zip(reading.lines, reading.cells, strict=True))
    misfits = {misfit.line for misfit in reading.rows.misfits}
    for at, line in enumerate(data.split(b"\n"), 1):
        if not line.strip(b" \t\r\n\x0b\x0c"):
            assert at not in cells
            assert at not in misfits
            continue
        if b"_raw" in line:
            continue
        assert (at in cells) != (at in misfits)
        members = _object(line)
        if at in cells:
            assert members is not None
            assert tuple(map(_as_json, cells[at])) == tuple(members[name] for name in COLUMNS)
        elif members is not None:
            assert not _is_agreed(members)


_BLANKS = bytes.maketrans(b"\x0b\x0c", b"  ")


def _check_json(data: bytes, reading: Reading | str) -> None:
    """A file is taken if, and only if, Python's json finds an array there; its elements are the rows.

    The parser takes a form feed and a vertical tab for blanks, where a row that holds one is rejected; and it has no
    number for an exponent that Python's takes for infinity.
    """
    if isinstance(reading, str):
        if "exponent of twenty digits" in reading:
            assert re.search(rb"[0-9.][eE][+-]?[0-9]{18}", data)
            return
        array = _array(data)
        assert array is None or not _is_agreed(array)
        return
    array = _array(data.translate(_BLANKS))
    assert array is not None
    assert len(reading.cells) + len(reading.rows.misfits) == len(array)
    for line, row in zip(reading.lines, reading.cells, strict=True):
        if "_raw" not in array[line - 1]:
            assert tuple(map(_as_json, row)) == tuple(array[line - 1][name] for name in COLUMNS)


CHECKS: Mapping[str, Callable[[bytes, Reading | str], None]] = {
    "csv": _check_csv,
    "ndjson": _check_ndjson,
    "json": _check_json,
}


class _RefusedError(Exception):
    """What Python's json takes by default, though it is no JSON, or readers do not agree on it."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise _RefusedError
    return dict(pairs)


def _refuse(_constant: str) -> None:
    raise _RefusedError


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode(), object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError, _RefusedError):
        return None
    is_row = isinstance(value, dict) and {name for name in value if not name.startswith("_")} == set(COLUMNS)
    return value if is_row else None


def _array(data: bytes) -> list[Any] | None:
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError, _RefusedError):
        return None
    return value if isinstance(value, list) else None


def _is_agreed(value: Any) -> bool:
    """Whether no text in it is half of a pair; on that readers of JSON do not agree."""
    match value:
        case str():
            return is_whole(value)
        case dict():
            return all(map(is_whole, value)) and all(map(_is_agreed, value.values()))
        case list():
            return all(map(_is_agreed, value))
        case _:
            return True


def _as_json(value: Any) -> Any:
    """A value as Python's json reads it."""
    match value:
        case Number():
            return json.loads(value)
        case dict():
            return {name: _as_json(one) for name, one in value.items()}
        case list():
            return [_as_json(one) for one in value]
        case _:
            return value
