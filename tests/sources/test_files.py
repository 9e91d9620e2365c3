"""What every source promises, in any format, and how files are opened and cut."""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.errors import SourceError, UsageError
from loader.core.records import MAX_ROW
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS
from loader.sources import FORMATS, FileSource, file_source, find_source
from loader.sources.files import Stream, cut
from tests.sources import BLOCK_SIZES, parsed, read, read_path, verdicts

Row = tuple[object, ...]


def as_csv(names: Sequence[str], rows: Sequence[Row]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([names, *rows])
    return out.getvalue()


def as_ndjson(names: Sequence[str], rows: Sequence[Row]) -> str:
    return "".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def as_json(names: Sequence[str], rows: Sequence[Row]) -> str:
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2, ensure_ascii=False)


FORMS: dict[str, Callable[[Sequence[str], Sequence[Row]], str]] = {"csv": as_csv, "ndjson": as_ndjson, "json": as_json}
ENDINGS = [f"{ending}{gz}" for ending in FORMATS for gz in ("", ".gz")]


def encoded(ending: str, rows: Sequence[Row]) -> str:
    return FORMS[ending.removesuffix(".gz")](USERS.names, rows)


def test_each_format_is_tested() -> None:
    """A format that is added to the gallery is to be added to the contract test."""
    assert set(FORMS) == set(FORMATS)


SAMPLE: list[Row] = [
    (1, "Alice", "alice@example.com"),
    (2, 'Bob "the\r\n,Builder" {[]}', "bob@example.com"),
    (3, "", "nobody@example.com"),
    (4, "Žofie \U0001f600\u2028\x85", "zofie"),
    (5, "\\\\ \\", "x@y"),
    ("six", "a\tb", "x@y"),
    (7, "\x07", None),
    (8, "null", "a@b"),
]


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_verdicts(ending: str, size: int) -> None:
    """The same rows get the same verdicts from any format, plain or compressed, whatever the size of the blocks."""
    reading = read(encoded(ending, SAMPLE), ending, block_size=size)
    assert verdicts(parsed(reading)) == [
        (1, "Alice", "alice@example.com"),
        (2, 'Bob "the\r\n,Builder" {[]}', "bob@example.com"),
        [("constraint-error", "name")],
        [("type-error", "name"), ("constraint-error", "email")],
        (5, "\\\\ \\", "x@y"),
        [("type-error", "id")],
        [("type-error", "name"), ("constraint-error", "email")],
        (8, "null", "a@b"),
    ]


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_cuts_at_rows(ending: str, size: int) -> None:
    """Blocks of any size hold the same rows at the same lines; each says where it begins and how far it reaches."""
    text = encoded(ending, SAMPLE)
    whole, cut_up = read(text, ending.removesuffix(".gz")), read(text, ending, block_size=size)
    assert (cut_up.rows, cut_up.columns) == (whole.rows, whole.columns)
    assert b"".join(block.data for block in cut_up.blocks) == b"".join(block.data for block in whole.blocks)
    line = whole.blocks[0].line
    for block in cut_up.blocks:
        assert block.line == line
        assert block.data.endswith(b"\n")
        line += block.data.count(b"\n")
    ends = [block.end for block in cut_up.blocks]
    assert ends == sorted(ends)
    assert ends[-1] == cut_up.size
    if size < 64 and not ending.endswith(".gz"):
        assert len(cut_up.blocks) > 4


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.text('",\r\n{}[]\\: x', max_size=4)


@given(
    st.lists(st.tuples(st.integers(0, 9), TEXT, TEXT), min_size=1, max_size=5),
    st.integers(1, 40),
    st.sampled_from(ENDINGS),
)
def test_every_format_brings_any_text(rows: list[Row], size: int, ending: str) -> None:
    """Text of any characters comes out of a file as it was written, in every format, however it is cut."""
    reading = read(encoded(ending, rows), ending, block_size=size)
    assert [(str(id_), *others) for id_, *others in reading.cells] == [(str(id_), *others) for id_, *others in rows]
    assert not reading.rows.misfits


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reader_gives_the_cells_of_one_row(ending: str) -> None:
    """The text of a row, asked for alone, has the cells that it had in its block."""
    row = (7, 'a "b", {c}', "x\ny")
    reading = read(encoded(ending, [row]), ending)
    [block] = reading.blocks
    values = reading.reader.values(block.data)
    assert {name: str(value) for name, value in values.items()} == {"id": "7", "name": 'a "b", {c}', "email": "x\ny"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_is_found_before_anything_is_read(ending: str, tmp_path: Path) -> None:
    """A compressed file that was cut off, or changed, is refused by `verify`, with its name."""
    path = tmp_path / f"users.{ending}"
    text = encoded(ending, [(at, f"name {at * 7919 % 1000}", f"{at}@x") for at in range(1, 5_000)]).encode()
    data = gzip.compress(text) if ending.endswith(".gz") else text
    path.write_bytes(data)
    for _ in file_source(path).verify():
        pass
    if not ending.endswith(".gz"):
        return
    for damaged in (data[:-4], data[: len(data) // 2], data[:-6] + b"\0\0" + data[-4:], data[:2000] + data[2010:]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"users\..*gz is not (an undamaged gzip file|a well-formed JSON array)"):
            list(file_source(path).verify())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("id,name,email\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
        (b"\xfe\xff\0i\0d", "UTF-16: save it as UTF-8"),
        (gzip.compress(gzip.compress(b"id,name,email\n")), "gz"),
    ],
)
def test_a_file_that_cannot_be_read_as_text_is_refused(ending: str, data: bytes, words: str) -> None:
    """An empty file, UTF-16, and a file that is compressed once more than its name says stop the dataset."""
    with pytest.raises(SourceError, match=words) as error:
        read(data, ending)
    assert f"users.{ending}" in str(error.value)


@pytest.mark.parametrize("ending", FORMATS)
def test_the_name_tells_whether_a_file_is_compressed(ending: str, tmp_path: Path) -> None:
    """A compressed file without .gz, and a plain one with it, are told apart, with the way out."""
    text = encoded(ending, SAMPLE).encode()
    plain, packed = tmp_path / f"users.{ending}", tmp_path / f"users.{ending}.gz"
    plain.write_bytes(gzip.compress(text))
    packed.write_bytes(text)
    with pytest.raises(SourceError, match=r"is gzipped: give it a name that ends in \.gz"):
        read_path(plain)
    with pytest.raises(SourceError, match="is not an undamaged gzip file"):
        read_path(packed)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_byte_order_mark_says_nothing(ending: str) -> None:
    """A file that begins with a UTF-8 byte order mark is read as if it did not."""
    text = encoded(ending, SAMPLE)
    for size in (1, 5, 2**18):
        assert read("\ufeff" + text, ending, block_size=size).rows == read(text, ending).rows


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    """Compressed files that were joined are read to the end of the last."""
    path = tmp_path / "users.csv.gz"
    path.write_bytes(gzip.compress(b"id,name,email\n1,a,") + gzip.compress(b"b\n2,c,d\n"))
    assert read_path(path, block_size=4).cells == [("1", "a", "b"), ("2", "c", "d")]


def test_a_file_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    """A missing file and a directory are told by name, with the reason."""
    (tmp_path / "users.csv").mkdir()
    for name, reason in (("users.csv", "directory"), ("orders.csv", "No such file")):
        with (
            pytest.raises(SourceError, match=f"{name} cannot be read: .*{reason}") as error,
            file_source(tmp_path / name).open(USERS, False),
        ):
            pass
        assert isinstance(error.value.__cause__, OSError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_that_may_not_be_read_is_a_source_error(tmp_path: Path) -> None:
    """A file without permission is told by name."""
    path = tmp_path / "users.csv"
    path.write_text("id,name,email\n")
    path.chmod(0)
    with pytest.raises(SourceError, match=r"users\.csv cannot be read: Permission denied"):
        read_path(path)


def test_a_file_is_closed_when_it_was_read(tmp_path: Path) -> None:
    """Nothing can be read from a source behind its `with`, and a file that is refused is closed too."""
    path = tmp_path / "users.csv"
    path.write_text("id,name,email\n1,a,b\n")
    with file_source(path).open(USERS, False) as rowset:
        pass
    with pytest.raises(ValueError, match="closed"):
        next(rowset.blocks)


@pytest.mark.parametrize(
    ("name", "format_"),
    [("users.csv", "csv"), ("a.b.json", "json"), ("users.ndjson.gz", "ndjson"), ("users.csv.gz", "csv")],
)
def test_the_ending_tells_the_format(name: str, format_: str) -> None:
    """A source is named as its file is, and knows whether rows have lines."""
    source = file_source(Path("dir", name))
    assert (source.format, source.name) == (format_, f"dir{os.sep}{name}")
    assert source.numbered == (format_ != "json")


@pytest.mark.parametrize("name", ["users", "users.txt", "users.gz", "users.csv.zip", "csv", ".gz"])
def test_an_unknown_ending_is_a_usage_error(name: str) -> None:
    """What no format is known for is told with the endings that are."""
    with pytest.raises(UsageError, match=r"must end in \.csv or \.json or \.ndjson"):
        file_source(name)


def test_a_dataset_is_found_by_its_name(tmp_path: Path) -> None:
    """The one file of a dataset is found; none is none; of two the user has to choose."""
    assert find_source(tmp_path, "users") is None
    (tmp_path / "users.csv").mkdir()
    (tmp_path / "users2.csv").touch()
    assert find_source(tmp_path, "users") is None
    (tmp_path / "users.ndjson.gz").touch()
    assert find_source(tmp_path, "users") == FileSource(tmp_path / "users.ndjson.gz", "ndjson")
    (tmp_path / "users.json").touch()
    with pytest.raises(UsageError, match=r"users\.json and .*users\.ndjson\.gz are both there.*users=.*users\.json"):
        find_source(tmp_path, "users")


class Pieces:
    """Bytes that come in given pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self.position = 0

    def read(self, size: int) -> bytes:
        piece = next(self._pieces, b"")
        self.position += len(piece)
        return piece


@given(st.lists(st.text("ab\n", min_size=1, max_size=5).map(str.encode), max_size=8))
def test_cutting_loses_nothing(pieces: list[bytes]) -> None:
    """Blocks are the bytes that came, each ends with a line, and only the last newline may be added."""
    data = b"".join(pieces)
    blocks = list(cut(Pieces(pieces), 1))
    assert b"".join(block.data for block in blocks) == data + (b"" if data.endswith(b"\n") or not data else b"\n")
    assert all(block.data.endswith(b"\n") for block in blocks)
    assert [block.line for block in blocks] == [
        1 + b"".join(other.data for other in blocks[:at]).count(b"\n") for at in range(len(blocks))
    ]


@pytest.mark.parametrize("size", [2**16, 2**18, 2**20 - 1, 2**21])
@pytest.mark.parametrize("length", [3 * 2**20, 2**20 + 1])
@pytest.mark.parametrize("ending", ["csv", "csv.gz", "ndjson", "ndjson.gz", "json"])
def test_a_row_over_a_mebibyte_is_one_rejection(ending: str, length: int, size: int) -> None:
    """A row longer than 1 MiB costs itself only, and its text is kept no further than that, in any format."""
    rows: list[Row] = [(1, "a", "b@c"), (2, "x" * length, "b@c"), (3, "a", "b@c")]
    reading = read(encoded(ending, rows), ending, block_size=size)
    assert [str(row[0]) for row in reading.cells] == ["1", "3"]
    [misfit] = reading.rows.misfits
    assert [(reason.code, reason.message) for reason in misfit.reasons] == [("row-error", "is longer than 1 MiB")]
    first = 2 if ending.startswith("csv") else 1
    assert (reading.lines, misfit.line) == ([first, first + 2], first + 1)
    text = next(
        text
        for block in reading.blocks
        for at, text in enumerate(block.data.splitlines(), block.line)
        if at == misfit.line
    )
    raw = reading.reader.values(text)["_raw"]
    assert isinstance(raw, str)
    assert MAX_ROW <= len(raw) <= MAX_ROW + 1


@pytest.mark.parametrize("size", [2**16, 2**18])
@pytest.mark.parametrize("ending", ["csv", "ndjson"])
def test_a_row_of_a_mebibyte_is_read(ending: str, size: int) -> None:
    """A row of exactly 1 MiB is as good as any, with either end of line, also at the end of the file."""
    for end in ("\n", "\r\n"):
        bare = encoded(ending, [(2, "", "b@c")]).splitlines()[-1]
        fill = "x" * (MAX_ROW - len(bare) - (len(end) - 1 if ending == "ndjson" else 0))
        row = encoded(ending, [(2, fill, "b@c")]).splitlines()[-1]
        head = "id,name,email\n" if ending == "csv" else ""
        for rows in (row, row + end, row + end + row + end):
            reading = read(head + rows, ending, block_size=size)
            assert [row[1] for row in reading.cells] == [fill] * rows.count(fill)
            assert not reading.rows.misfits


def test_a_stream_knows_its_size_and_place(tmp_path: Path) -> None:
    """Size and position are those of the file, compressed as it is: so progress never runs past its end."""
    path = tmp_path / "products.csv.gz"
    path.write_bytes(gzip.compress(b"id,name,price\n" + b"1,a,1\n" * 10_000))
    with Stream(path) as stream:
        assert stream.size == path.stat().st_size
        positions = []
        while stream.read(1_000):
            positions.append(stream.position)
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size
    assert len(read_path(path, PRODUCTS).cells) == 10_000
