"""What every source promises, in any format, and how files are opened and cut."""

import asyncio
import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.errors import SourceError, UsageError
from loader.core.records import MAX_REJECT, MAX_ROW
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS
from loader.sources import BLOCK_SIZE, FORMATS, FileSource, file_source, files, find_source
from loader.sources.files import Stream, cut, open_file
from loader.sources.packings import PACKINGS
from tests.sources import BLOCK_SIZES, message, packed, parsed, read, read_path, values, verdicts
from tests.test_cli import wait_until

Row = tuple[object, ...]


def as_csv(names: Sequence[str], rows: Sequence[Row], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([names, *rows])
    return out.getvalue()


def as_ndjson(names: Sequence[str], rows: Sequence[Row]) -> str:
    return "".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def as_json(names: Sequence[str], rows: Sequence[Row]) -> str:
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2, ensure_ascii=False)


def as_parquet(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    """A file whose columns are all text."""
    texts = [[None if cell is None else str(cell) for cell in column] for column in zip(*rows, strict=True)]
    out = io.BytesIO()
    pq.write_table(pa.table([pa.array(column, pa.string()) for column in texts], list(names)), out, row_group_size=3)
    return out.getvalue()


FORMS: dict[str, Callable[[Sequence[str], Sequence[Row]], str]] = {
    "csv": as_csv,
    "tsv": partial(as_csv, delimiter="\t"),
    "json": as_json,
    "ndjson": as_ndjson,
    "jsonl": as_ndjson,
}
TEXTS = [ending for ending, each in FORMATS.items() if each.packed]
ENDINGS = [f"{ending}{packing}" for ending in TEXTS for packing in ("", *PACKINGS)]
ALL_ENDINGS = [*ENDINGS, "parquet"]


def encoded(ending: str, rows: Sequence[Row]) -> str:
    return FORMS[ending.partition(".")[0]](USERS.names, rows)


def written(ending: str, rows: Sequence[Row]) -> str | bytes:
    return as_parquet(USERS.names, rows) if ending == "parquet" else encoded(ending, rows)


def test_each_format_is_tested() -> None:
    """A format that is added to the gallery is to be added to the contract test."""
    assert {*FORMS, "parquet"} == set(FORMATS)


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
@pytest.mark.parametrize("ending", ALL_ENDINGS)
def test_every_format_gives_the_same_verdicts(ending: str, size: int) -> None:
    """The same rows get the same verdicts from any format, plain or compressed, whatever the size of the blocks."""
    reading = read(written(ending, SAMPLE), ending, block_size=size)
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
    whole, cut_up = read(text, ending.partition(".")[0]), read(text, ending, block_size=size)
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
    if size < 64 and "." not in ending:
        assert len(cut_up.blocks) > 4


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.text('",\r\n{}[]\\: x', max_size=4)


@given(
    st.lists(st.tuples(st.integers(0, 9), TEXT, TEXT), min_size=1, max_size=5),
    st.integers(1, 40),
    st.sampled_from(ALL_ENDINGS),
)
def test_every_format_brings_any_text(rows: list[Row], size: int, ending: str) -> None:
    """Text of any characters comes out of a file as it was written, in every format, however it is cut."""
    reading = read(written(ending, rows), ending, block_size=size)
    assert [(str(id_), *others) for id_, *others in reading.cells] == [(str(id_), *others) for id_, *others in rows]
    assert not reading.rows.misfits


@pytest.mark.parametrize("ending", ALL_ENDINGS)
def test_a_reader_gives_the_cells_of_one_row(ending: str) -> None:
    """The text of a row, asked for alone, has the cells that it had in its block."""
    row = (7, 'a "b", {c}', "x\ny")
    reading = read(written(ending, [row]), ending)
    [block] = reading.blocks
    found = values(reading.reader, block.data)
    assert {name: str(value) for name, value in found.items()} == {"id": "7", "name": 'a "b", {c}', "email": "x\ny"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_is_found_before_anything_is_read(ending: str, tmp_path: Path) -> None:
    """A compressed file that was cut off, or changed, is refused by `verify`, with its name."""
    path = tmp_path / f"users.{ending}"
    text = encoded(ending, [(at, f"name {at * 7919 % 1000}", f"{at}@x") for at in range(1, 5_000)]).encode()
    data = packed(text, ending)
    path.write_bytes(data)
    asyncio.run(file_source(path).verify())
    if data == text:
        return
    cut_off = [data[:end] for end in (1, 3, 5, 12, len(data) // 2, len(data) - 4, len(data) - 1)]
    for damaged in (*cut_off, data[:-2] + b"\0\0", data[:2000] + data[2010:], data + b"x", data + data[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"is not (an undamaged (gzip|zstd) file|a well-formed JSON array)"):
            asyncio.run(file_source(path).verify())


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst"])
def test_a_compressed_file_that_is_cut_off_anywhere_is_refused(ending: str, tmp_path: Path) -> None:
    """Whichever byte is the last one that is there, the file is refused as a whole."""
    path = tmp_path / f"users.{ending}"
    data = packed(encoded(ending, SAMPLE).encode(), ending)
    for end in range(1, len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(SourceError, match=r"is not an undamaged (gzip|zstd) file"):
            asyncio.run(file_source(path).verify())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("id,name,email\n".encode("utf-16"), "UTF-16: save it as UTF-8"),
        (b"\xfe\xff\0i\0d", "UTF-16: save it as UTF-8"),
        (gzip.compress(gzip.compress(b"id,name,email\n")), "gz"),
        (packed(packed(b"id,name,email\n", ".zst"), ".zst"), "zst"),
    ],
)
def test_a_file_that_cannot_be_read_as_text_is_refused(ending: str, data: bytes, words: str) -> None:
    """An empty file, UTF-16, and a file that is compressed once more than its name says stop the dataset."""
    with pytest.raises(SourceError, match=words) as error:
        read(data, ending)
    assert f"users.{ending}" in str(error.value)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("ending", TEXTS)
def test_the_name_tells_whether_a_file_is_compressed(ending: str, packing: str, tmp_path: Path) -> None:
    """A compressed file without the ending for it, and a plain one with it, are told apart, with the way out."""
    text = encoded(ending, SAMPLE).encode()
    plain, other = tmp_path / f"users.{ending}", tmp_path / f"users.{ending}{packing}"
    plain.write_bytes(packed(text, packing))
    other.write_bytes(text)
    with pytest.raises(SourceError, match=rf"is compressed by \w+: give it a name that ends in {packing}"):
        read_path(plain)
    with pytest.raises(SourceError, match=r"is not an undamaged \w+ file"):
        read_path(other)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_byte_order_mark_says_nothing(ending: str) -> None:
    """A file that begins with a UTF-8 byte order mark is read as if it did not."""
    text = encoded(ending, SAMPLE)
    for size in (1, 5, 2**18):
        assert read("\ufeff" + text, ending, block_size=size).rows == read(text, ending).rows


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst"])
def test_several_compressed_files_in_one_are_one_file(ending: str, tmp_path: Path) -> None:
    """Compressed files that were joined, an empty one among them, are read to the end of the last."""
    path = tmp_path / f"users.{ending}"
    path.write_bytes(b"".join(packed(part, ending) for part in (b"id,name,email\n1,a,", b"", b"b\n2,c,d\n")))
    assert read_path(path, block_size=4).cells == [("1", "a", "b"), ("2", "c", "d")]


def test_zstd_frames_that_hold_nothing_for_us_are_skipped(tmp_path: Path) -> None:
    """A skippable frame (RFC 8878), as some tools write it, changes nothing."""
    path = tmp_path / "users.csv.zst"
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    path.write_bytes(skippable + packed(b"id,name,email\n1,a,b\n", ".zst") + skippable)
    assert read_path(path).cells == [("1", "a", "b")]


def test_without_a_library_for_zstd_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who names a .zst needs the library for it, and is told how to get it when the file is named."""
    for name in ("backports", "backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert file_source("users.csv.gz").format == "csv"
    with pytest.raises(UsageError, match=r"pip install 'crossload\[zst\]'"):
        file_source("users.csv.zst")


@pytest.mark.parametrize("ending", TEXTS)
@pytest.mark.parametrize("size", [1, 3, 64, 2**18])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-be", "utf-32", "shift_jis", "utf-8-sig"])
def test_every_format_may_be_in_another_encoding(ending: str, size: int, encoding: str) -> None:
    """Text in any encoding is read as the same text in UTF-8 is, at the same lines, however it is cut."""
    rows: list[Row] = [
        (1, "a\nb", "x@y"),
        (2, "\u00a7\u00b6 \u00d7" if "8" in encoding else "caf\u00e9", "z@y"),
        (3, "c", "d@y"),
    ]
    if encoding == "shift_jis":
        rows[1] = (2, "\u30ab\u30d5\u30a7\u8868", "z@y")
    text = encoded(ending, rows)
    there = read(text.encode(encoding), ending, block_size=size, encoding=encoding)
    assert there.rows == read(text, ending).rows
    assert not there.rows.misfits


@pytest.mark.parametrize("ending", ["csv", "tsv", "ndjson", "jsonl"])
@pytest.mark.parametrize(
    ("encoding", "bad", "byte"),
    [
        ("ascii", b"\xc3\xa9", "0xC3"),  # which is an e with an accent in UTF-8, that was not asked for
        ("cp1252", b"\x81", "0x81"),
        ("shift_jis", b"\x81", "0x81"),
        ("utf-16-le", b"\0\xd8", "0x00"),
        ("utf-8", b"\xe9", "0xE9"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 2**18])
def test_a_byte_that_cannot_be_decoded_costs_its_row(
    ending: str, encoding: str, bad: bytes, byte: str, size: int
) -> None:
    """The row is rejected with the byte that is no character of the encoding; the others are read, at their lines."""
    text = encoded(ending, [(1, "a", "x@y"), (2, "(!)", "x@y"), (3, "c", "x@y")])
    before, after = text.split("!")
    data = before.encode(encoding) + bad + after.encode(encoding)
    reading = read(data, ending, block_size=size, encoding=encoding)
    first = 2 if ending in ("csv", "tsv") else 1
    assert (reading.lines, [str(row[0]) for row in reading.cells]) == ([first, first + 2], ["1", "3"])
    [misfit] = reading.rows.misfits
    assert misfit.line == first + 1
    assert message(misfit.reasons) == f"row-error: cannot be decoded: it holds the byte {byte} (see --encoding)"


def test_a_file_that_ends_within_a_character_loses_nothing_else() -> None:
    """Half a character at the end of a file costs the last row, in any encoding."""
    data = "id,name,email\n1,a,b\n2,c,d".encode("utf-16") + b"\n"
    reading = read(data, encoding="utf-16")
    assert reading.cells == [("1", "a", "b")]
    assert "the byte 0x0A" in message(reading.rows.misfits[0].reasons)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_byte_order_mark_wins_over_the_encoding(ending: str) -> None:
    """A file that says that it is UTF-8 is read as UTF-8, whatever was asked for."""
    text = encoded(ending, SAMPLE)
    for encoding in ("latin-1", "utf-16"):
        assert read("\ufeff" + text, ending, encoding=encoding).rows == read(text, ending).rows


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_an_empty_file_is_empty_in_any_encoding(encoding: str) -> None:
    """Neither nothing nor a mark alone is a header."""
    for data in (b"", "".encode(encoding), b"\xef\xbb\xbf"):
        with pytest.raises(SourceError, match=r"users\.csv is empty"):
            read(data, encoding=encoding)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pipe_is_read_as_a_file_is(ending: str, tmp_path: Path) -> None:
    """What can be read only once gives the same rows, and what is to be proved sound is proved before any is given."""
    file, pipe = tmp_path / f"file.{ending}", tmp_path / f"pipe.{ending}"
    data = packed(encoded(ending, SAMPLE).encode(), ending)
    file.write_bytes(data)
    os.mkfifo(pipe)
    with filled(pipe, data):
        reading = read_path(pipe, block_size=7)
    assert reading.rows == read_path(file).rows
    if ending.startswith("json.") or "." in ending:
        with filled(pipe, data[:-1]), pytest.raises(SourceError, match="is not"):
            asyncio.run(_first_block(pipe))


async def _first_block(path: Path) -> None:
    source = file_source(path)
    await source.verify()
    async with source.open(USERS, False) as rowset:
        async for _ in rowset.blocks:
            pytest.fail("a row came out of a damaged file")


@contextmanager
def filled(pipe: Path, data: bytes) -> Iterator[None]:
    """A pipe into which somebody writes."""
    writer = Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    yield
    writer.join()


def test_a_pipe_that_is_opened_too_late_is_closed(tmp_path: Path) -> None:
    """Who is cancelled while nobody writes into a pipe does not wait, and leaves nothing open when somebody does."""
    pipe = tmp_path / "users.csv"
    os.mkfifo(pipe)

    async def cancelled() -> None:
        opening = asyncio.create_task(_first_block(pipe))
        await asyncio.sleep(0.1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(cancelled())
    writer = os.open(pipe, os.O_WRONLY)
    try:
        wait_until(lambda: is_broken(writer))
    finally:
        os.close(writer)


def is_broken(writer: int) -> bool:
    """Whether nobody reads what is written into a pipe."""
    try:
        os.write(writer, b"x")
    except BrokenPipeError:
        return True
    return False


def test_the_size_of_a_pipe_is_not_known(tmp_path: Path) -> None:
    """A pipe says nothing of its size, and so nothing of the place in it."""
    pipe = tmp_path / "users.csv"
    os.mkfifo(pipe)
    with filled(pipe, b"id,name,email\n1,a,b\n"):
        reading = read_path(pipe)
    assert (reading.size, [block.end for block in reading.blocks]) == (0, [0])


def test_a_file_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    """A missing file and a directory are told by name, with the reason."""
    (tmp_path / "users.csv").mkdir()
    for name, reason in (("users.csv", "directory"), ("orders.csv", "No such file")):
        with pytest.raises(SourceError, match=f"{name} cannot be read: .*{reason}") as error:
            read_path(tmp_path / name)
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

    async def read_behind() -> None:
        async with file_source(path).open(USERS, False) as rowset:
            pass
        with pytest.raises(ValueError, match="closed"):
            await anext(rowset.blocks)

    asyncio.run(read_behind())


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("users.csv", "csv"),
        ("a.b.json", "json"),
        ("users.ndjson.gz", "ndjson"),
        ("users.csv.gz", "csv"),
        ("users.tsv.zst", "tsv"),
        ("users.jsonl", "jsonl"),
    ],
)
def test_the_ending_tells_the_format(name: str, format_: str) -> None:
    """A source is named as its file is, and knows whether rows have lines."""
    source = file_source(Path("dir", name))
    assert (source.format, source.name) == (format_, f"dir{os.sep}{name}")
    assert source.numbered == (format_ != "json")


@pytest.mark.parametrize("name", ["users", "users.txt", "users.gz", "users.csv.zip", "csv", ".gz", "users.parquet.gz"])
def test_an_unknown_ending_is_a_usage_error(name: str) -> None:
    """What no format is known for is told with the endings that are."""
    with pytest.raises(
        UsageError, match=r"must end in \.csv or \.tsv or \.json or .* and \.gz or \.zst; or say --format"
    ):
        file_source(name)
    assert file_source(name, "tsv").format == "tsv"


def test_a_known_ending_wins_over_the_format() -> None:
    """The format that is asked for is that of names which tell none."""
    assert file_source("users.csv", "json").format == "csv"
    assert file_source("users.csv.gz", "json").format == "csv"


def test_stdin_needs_a_format() -> None:
    """Stdin is called so, and is of the format that is asked for."""
    with pytest.raises(
        UsageError, match=r"stdin has no name that tells its format: say --format csv\|tsv\|json\|ndjson"
    ):
        file_source("-")
    assert file_source("-", "csv").name == "stdin"
    assert file_source(Path("-"), "csv").name == "-"


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


@given(st.lists(st.text("ab\n", min_size=1, max_size=5).map(str.encode), max_size=8), st.integers(1, 4))
def test_cutting_loses_nothing(pieces: list[bytes], most: int) -> None:
    """Blocks are the bytes that came, each ends with a line, and only the last newline may be added."""
    data = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_MOST_LINES", most)
        blocks = list(cut(Pieces(pieces), 1))
    assert b"".join(block.data for block in blocks) == data + (b"" if data.endswith(b"\n") or not data else b"\n")
    assert all(block.data.endswith(b"\n") for block in blocks)
    assert [block.line for block in blocks] == [
        1 + b"".join(other.data for other in blocks[:at]).count(b"\n") for at in range(len(blocks))
    ]


@pytest.mark.parametrize("length", [MAX_REJECT + 1000, 9 * BLOCK_SIZE // 2 + 1000, 5 * BLOCK_SIZE + 1000])
def test_a_block_has_not_too_many_lines(length: int) -> None:
    """However short they are, also behind one that is too long for any block, of which only the place is kept."""
    data = b"a" * length + b"\n" + b"b\n" * 400_000
    pieces = [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]
    blocks = list(cut(Pieces(pieces), BLOCK_SIZE))
    counts = [block.data.count(b"\n") for block in blocks]
    assert (max(counts) < 2**17, sum(counts)) == (True, 400_001)
    assert [block.line for block in blocks] == [1 + sum(counts[:at]) for at in range(len(counts))]


@pytest.mark.parametrize("size", [2**16, 2**18, 2**20 - 1, 2**21])
@pytest.mark.parametrize("length", [3 * 2**20, 2**20 + 1])
@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv.zst", "ndjson", "ndjson.gz", "json"])
def test_a_row_over_a_mebibyte_is_one_rejection(ending: str, length: int, size: int) -> None:
    """A row longer than 1 MiB costs itself only, and its text is kept no further than that, in any format."""
    rows: list[Row] = [(1, "a", "b@c"), (2, "x" * length, "b@c"), (3, "a", "b@c")]
    reading = read(encoded(ending, rows), ending, block_size=size)
    assert [str(row[0]) for row in reading.cells] == ["1", "3"]
    [misfit] = reading.rows.misfits
    assert [(reason.code, reason.message) for reason in misfit.reasons] == [("row-error", "is longer than 1 MiB")]
    first = 2 if ending.startswith(("csv", "tsv")) else 1
    assert (reading.lines, misfit.line) == ([first, first + 2], first + 1)
    text = next(
        text
        for block in reading.blocks
        for at, text in enumerate(block.data.splitlines(), block.line)
        if at == misfit.line
    )
    raw = values(reading.reader, text)["_raw"]
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
    with open_file(path) as raw:
        stream = Stream(raw, path)
        assert stream.size == path.stat().st_size
        positions = []
        while stream.read(1_000):
            positions.append(stream.position)
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size
    assert len(read_path(path, PRODUCTS).cells) == 10_000


def test_a_file_is_not_closed_while_it_is_read(tmp_path: Path) -> None:
    """A load that is cancelled waits for the read on its way, which could else be of a file that is opened next."""
    path = tmp_path / "users.csv"
    path.write_text("id\n1\n")
    file: Any = open_file(path)
    closing = Thread(target=file.close)
    with file._in_use:
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        assert not file.closed
    closing.join(5)
    assert file.closed
