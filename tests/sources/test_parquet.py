"""Parquet: what becomes of each type, of columns that do not fit, and of damage."""

import asyncio
import datetime as dt
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import define

from loader.cli import main
from loader.core.dataset import Dataset
from loader.core.errors import SourceError, UsageError
from loader.core.records import MAX_ROW
from loader.core.values import Number
from loader.datasets.users import USERS
from loader.sources import FileSource, file_source, find_source
from tests.sources import BLOCK_SIZES, message, parsed, read, verdicts
from tests.test_cli import environment, left, result, settle_in, write


@define
class Thing:
    id: int
    value: str | None = None


THINGS = Dataset("things", Thing, "id")


def parquet(columns: Mapping[str, Any], **options: Any) -> bytes:
    """A file of these columns: Arrow arrays, or values of a type that Arrow finds."""
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out, **options)
    return out.getvalue()


def users(count: int, **options: Any) -> bytes:
    ids = range(1, count + 1)
    names, emails = [f"name {at * 7919 % 1000}" for at in ids], [f"{at}@example.com" for at in ids]
    return parquet({"id": ids, "name": names, "email": emails}, **options)


def cells(value: pa.Array) -> list[Any]:
    """What cells the values of an Arrow array become."""
    reading = read(parquet({"id": range(len(value)), "value": value}), "parquet", THINGS)
    assert not reading.rows.misfits
    return [cell for _, cell in reading.cells]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pa.array([1, -(2**63), None]), [1, -(2**63), None]),
        (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
        (pa.array([1, -1], pa.int8()), [1, -1]),
        (pa.array([True, False, None]), [True, False, None]),
        (pa.array([0.1, -1.5e300, None]), [0.1, -1.5e300, None]),
        (pa.array([0.5], pa.float32()), [0.5]),
        (pa.array([float("nan"), float("-inf")]), [{"float": "nan"}, {"float": "-inf"}]),
        (pa.array(["a", "", "é\U0001f600", None]), ["a", "", "é\U0001f600", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["b", "a", "b", None]).dictionary_encode(), ["b", "a", "b", None]),
        (pa.array([b"a", "é".encode(), b"\xff\xfe", None]), ["a", "é", {"bytes": "fffe"}, None]),
        (pa.array([b"a", b"\xff\xfe", None]).view(pa.string()), ["a", {"bytes": "fffe"}, None]),
        (pa.array([Decimal("1.50"), Decimal("-0.01"), None]), [Number("1.50"), Number("-0.01"), None]),
        (pa.array([Decimal("9" * 60)], pa.decimal256(60, 0)), [Number("9" * 60)]),
        (pa.array([dt.date(2020, 1, 31), dt.date(1, 1, 1), None]), ["2020-01-31", "0001-01-01", None]),
        (pa.array([dt.time(1, 2, 3), dt.time(1, 2, 3, 4000), None]), ["01:02:03", "01:02:03.004000", None]),
        (pa.array([[1, None], [], None]), [[1, None], [], None]),
        (pa.array([{"a": Decimal("1.5"), "b": b"\xff"}]), [{"a": Number("1.5"), "b": {"bytes": "ff"}}]),
        (pa.array([[0], [2**62]], pa.list_(pa.timestamp("us"))), None),
        (pa.array([[1]], pa.list_(pa.timestamp("ns"))), None),
        (pa.array([dt.timedelta(1)]), [{"timedelta": "1 day, 0:00:00"}]),
        (pa.nulls(2), [None, None]),
        (pa.array([UUID(int=7).bytes], pa.binary(16)).cast(pa.uuid()), [str(UUID(int=7))]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_value_becomes_what_json_has_for_it(value: pa.Array, expected: list[object] | None) -> None:
    """Each type has its form in JSON, numbers to the last digit; what has none is an object, and never a crash."""
    found = cells(value)
    assert expected is None or (found, list(map(type, found))) == (expected, list(map(type, expected)))
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("unit", "zone", "count", "expected"),
    [
        ("s", None, 1577836800, "2020-01-01T00:00:00"),
        ("ms", None, 1577836800120, "2020-01-01T00:00:00.120000"),
        ("us", None, 1577836800000001, "2020-01-01T00:00:00.000001"),
        ("us", None, -1, "1969-12-31T23:59:59.999999"),
        ("ns", None, 1577836800123456000, "2020-01-01T00:00:00.123456"),
        ("ns", None, 1577836800123456789, "2020-01-01T00:00:00.123456789"),
        ("ns", "UTC", 1577836800123456780, "2020-01-01T00:00:00.123456780+00:00"),
        ("us", "UTC", 1577836800000000, "2020-01-01T00:00:00+00:00"),
        ("us", "Europe/Prague", 1577836800000000, "2020-01-01T00:00:00+00:00"),
        ("us", None, 253402300800000000, "10000-01-01T00:00:00"),
        ("us", None, 2**62, {"date": "value out of range: 4611686018427387904"}),
    ],
)
def test_an_instant_is_written_as_python_does(unit: str, zone: str | None, count: int, expected: object) -> None:
    """Instants are ISO 8601 to the last digit, with a zone in UTC, and those that Python has none for do no harm."""
    assert cells(pa.array([count, None], pa.timestamp(unit, zone))) == [expected, None]


def test_what_is_no_text_is_a_type_error() -> None:
    """A number, bytes that are no UTF-8, and what JSON has no form for cost their row, with all its reasons."""
    for value in ([7], [1.5], [float("nan")], [True], [Decimal(7)], [b"\xff"], [[1]], [dt.timedelta(1)]):
        reading = read(parquet({"id": ["x"], "value": value}), "parquet", THINGS)
        assert verdicts(parsed(reading, THINGS)) == [[("type-error", "id"), ("type-error", "value")]]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"value": ["a"]}, "the schema lacks 'id' of things"),
        ({"id": [1], "colour": [1], "x": [1]}, "the schema names 'colour', 'x', which things do not have"),
    ],
)
def test_columns_that_do_not_fit_stop_the_dataset(columns: Mapping[str, Any], words: str) -> None:
    """A column that is missing or unknown is told by name, before a row is read."""
    with pytest.raises(SourceError, match=f"things.parquet: {words}"):
        read(parquet(columns), "parquet", THINGS)


def test_a_column_may_not_be_there_twice() -> None:
    """Two columns of one name are refused."""
    out = io.BytesIO()
    pq.write_table(pa.table([[1], [2]], ["id", "id"]), out)
    with pytest.raises(SourceError, match="the schema names 'id' more than once"):
        read(out.getvalue(), "parquet", THINGS)


def test_columns_may_be_left_out() -> None:
    """An optional column may be missing, unknown ones can be left out, and loader's own (or pandas') are no columns."""
    assert read(parquet({"id": [1, 2]}), "parquet", THINGS).cells == [(1, None), (2, None)]
    data = parquet({"x": [[1], [2]], "value": ["a", "b"], "__index_level_0__": [0, 1], "id": [1, 2]})
    reading = read(data, "parquet", THINGS, ignore_extra=True)
    assert (reading.cells, reading.columns) == ([(1, "a"), (2, "b")], ("x", "value", "id"))
    [block] = reading.blocks
    assert list(reading.reader.values(block, [(2, None)])) == [{"x": [2], "value": "b", "id": 2}]


@pytest.mark.parametrize("size", [*BLOCK_SIZES, 256, 512])
@pytest.mark.parametrize("group", [1, 3, 1000])
def test_blocks_of_any_size_have_the_same_rows(size: int, group: int) -> None:
    """However rows are grouped and cut, they count from 1, and the last block reaches the end of the file."""
    reading = read(users(20, row_group_size=group), "parquet", block_size=size)
    assert [row[0] for row in reading.cells] == reading.lines == list(range(1, 21))
    ends = [block.end for block in reading.blocks]
    assert ends == sorted(ends)
    assert ends[-1] == reading.size
    assert size != 1 or len(reading.blocks) == 20
    assert size != 512 or len(reading.blocks) > 1
    assert len(reading.blocks) == 1 or ends[0] < reading.size / 2


def test_no_block_is_big() -> None:
    """A file of one row group, whose columns are the same value again and again, comes in blocks all the same."""
    reading = read(parquet({"id": [7] * 100_000}), "parquet", THINGS, block_size=2**17)
    assert len(reading.blocks) == 10
    reading = read(users(50_000, row_group_size=50_000), "parquet", block_size=2**14)
    assert max(len(block.data) for block in reading.blocks) < 2**15
    words = pa.array([f"{at % 5_000:0200}" for at in range(10_000)]).dictionary_encode()
    reading = read(parquet({"id": range(10_000), "value": words}), "parquet", THINGS, block_size=2**10)
    assert max(len(block.data) for block in reading.blocks) < 2**15


def test_no_rows_are_no_blocks() -> None:
    """A file without rows, or without row groups, is sound, and gives nothing."""
    schema = pa.schema({"id": pa.int64(), "value": pa.string()})
    out = io.BytesIO()
    pq.ParquetWriter(out, schema).close()
    for data in (out.getvalue(), parquet(dict(zip(schema.names, schema.empty_table().columns, strict=True)))):
        assert read(data, "parquet", THINGS).blocks == []


def test_a_row_over_a_mebibyte_is_one_rejection() -> None:
    """A row longer than 1 MiB costs itself only, as in any format, and its text is kept no further than that."""
    reading = read(parquet({"id": [1, 2, 3], "value": ["a", "x" * (MAX_ROW + 1), "b"]}), "parquet", THINGS)
    assert (reading.lines, reading.codes) == ([1, 3], [(2, ["row-error"])])
    assert message(reading.rows.misfits[0].reasons) == "row-error: is longer than 1 MiB"
    block = next(block for block in reading.blocks if len(block.data) > MAX_ROW)
    [found] = reading.reader.values(block, [(2, 3)])
    raw = found["_raw"]
    assert isinstance(raw, str)
    assert len(raw) == MAX_ROW + 1


def damaged() -> Iterable[bytes]:
    """Files that are cut off or changed, and others that are none."""
    data, random = users(2_000, row_group_size=500), Random(7)
    yield from (
        b"PAR1",
        b"id,name,email\n1,a,b\n",
        data[:-1],
        data[: len(data) // 2],
        data[8:],
        data[:100] + data[300:],
    )
    for _ in range(60):
        at = len(data) - 1 - random.randrange(1_500)
        yield data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def test_damage_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    """Whatever bytes a file holds, it is read or refused, with its name and in one line."""
    path = tmp_path / "users.parquet"
    told = []
    for data in damaged():
        path.write_bytes(data)
        try:
            asyncio.run(file_source(path).verify())
        except SourceError as error:
            told.append(str(error))
    assert len(told) > 30
    assert all(each.startswith(f"{path} is not an undamaged Parquet file: ") and "\n" not in each for each in told)


def test_damage_in_the_last_page_is_found_before_anything_is_read(tmp_path: Path) -> None:
    """A page of the last row group that was changed is found by `verify`: by its checksum, where it has one."""
    data = users(2_000, row_group_size=500, compression="none", write_page_checksum=True)
    at = data.rindex(b"1999@example.com")
    path = tmp_path / "users.parquet"
    path.write_bytes(data[:at] + b"X" + data[at + 1 :])
    with pytest.raises(SourceError, match=r"users\.parquet is not an undamaged Parquet file: .*CRC"):
        asyncio.run(file_source(path).verify())


@pytest.mark.parametrize(("data", "words"), [(b"", "is empty"), (None, "cannot be read: No such file")])
def test_a_file_that_is_empty_or_not_there(data: bytes | None, words: str, tmp_path: Path) -> None:
    """An empty file and a missing one are told as in any format."""
    path = tmp_path / "users.parquet"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SourceError, match=words):
        asyncio.run(file_source(path).verify())


def test_a_file_is_closed_when_it_was_read(tmp_path: Path) -> None:
    """Nothing can be read from a source behind its `with`."""
    path = tmp_path / "users.parquet"
    path.write_bytes(users(3))

    async def read_behind() -> None:
        async with file_source(path).open(USERS, False) as rowset:
            pass
        with pytest.raises(ValueError, match="closed"):
            await anext(rowset.blocks)

    asyncio.run(read_behind())


def test_a_source_says_what_it_is(tmp_path: Path) -> None:
    """Rows have no lines, rejected ones are written as NDJSON, and it can be read again."""
    source = file_source(tmp_path / "users.parquet")
    assert (source.format, source.numbered, source.rereadable) == ("ndjson", False, True)
    source.path.with_name("users.parquet.gz").touch()
    assert find_source(tmp_path, "users") is None
    source.path.touch()
    assert find_source(tmp_path, "users") == source


@pytest.fixture
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


@pytest.mark.usefixtures("_place")
def test_without_pyarrow_there_is_a_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where pyarrow is not installed, a Parquet file is wrong use, and the message says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'crossload\[parquet\]'"):
        file_source("users.parquet")
    Path("data/users.csv").rename("data/users.parquet")
    assert main(["-qq", "users"]) == 2
    assert "data/users.parquet: pyarrow is needed for that" in capsys.readouterr().err
    assert left() == set()


@pytest.mark.usefixtures("_place")
def test_pyarrow_is_only_imported_for_parquet() -> None:
    """A load of other files does without it: to import it takes as long as half of the start."""
    code = "import sys; from loader.cli import main; main(['-qq']); assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


@pytest.mark.usefixtures("_place")
def test_rejected_rows_can_be_mended_and_loaded() -> None:
    """They are written as NDJSON; fed back, a row that still fails has the place that it had in the Parquet file."""
    values = {"id": [1, 2, 3], "name": ["A", " ", "C"], "email": [b"a@x.io", b"b@x.io", b"\xff"]}
    Path("data/users.csv").unlink()
    Path("data/users.parquet").write_bytes(parquet(values))
    assert main(["-qq", "users"]) == 1
    assert left("rejects") == {"users.ndjson"}
    first = result()["datasets"][0]["rejections"]
    rejects = Path("rejects/users.ndjson").read_text()
    write("rejects/users.ndjson", *rejects.replace('"name":" "', '"name":"B"').splitlines())
    assert main(["-qq", "--data", "rejects"]) == 1
    again = result()["datasets"][0]
    assert (again["inserted"], again["rejected"]) == (1, 1)
    assert again["rejections"] == first[1:]
    assert (first[1]["source"], first[1]["line"], first[1]["row"]) == ("data/users.parquet", None, 3)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    """What is written to it behind the first rows ends the reading, though its footer was read before."""
    path = tmp_path / "users.parquet"
    path.write_bytes(users(1_000))

    async def read_on() -> None:
        async with FileSource(path, "parquet", block_size=1_000).open(USERS, False) as rowset:
            await anext(rowset.blocks)
            with path.open("ab") as file:
                file.write(b"more")
            await anext(rowset.blocks)

    with pytest.raises(SourceError, match=r"users\.parquet was changed while it was read: run again"):
        asyncio.run(read_on())
