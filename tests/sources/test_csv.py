"""CSV: what a record is, at which line it stands, and what a fault costs."""

import csv
import io
from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import example, given
from hypothesis import strategies as st

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.parsing import parse
from loader.core.records import Block, Place
from loader.datasets.orders import ORDERS
from loader.datasets.users import USERS
from loader.sources.csv import CsvReader
from tests.sources import BLOCK_SIZES, Reading, message, parsed, read, values, verdicts

HEADER = "id,name,email\n"


@define
class One:
    id: int


@define
class Note:
    id: int
    text: str | None


ONES, NOTES = Dataset("ones", One, "id"), Dataset("notes", Note, "id")

Outcome = tuple[int, str]


def outcomes(reading: Reading) -> list[Outcome]:
    """By line, the first cell of each row that fits, and the codes of each that does not."""
    fit = [(line, str(row[0])) for line, row in zip(reading.lines, reading.cells, strict=True)]
    return sorted([*fit, *((line, ",".join(codes)) for line, codes in reading.codes)])


def rows_of(text: str | bytes, size: int = 2**18) -> list[Outcome]:
    return outcomes(read(HEADER.encode() + (text.encode() if isinstance(text, str) else text), block_size=size))


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,a,b\n2,c,d\n", [(2, "1"), (3, "2")]),
        ("1,a,b\n2,c,d", [(2, "1"), (3, "2")]),
        ("1,a,b\r\n2,c,d\r\n", [(2, "1"), (3, "2")]),
        ("1,a,b\r\n2,c,d\r", [(2, "1"), (3, "2")]),
        ("\n\n1,a,b\n\n\r\n2,c,d\n\n", [(4, "1"), (7, "2")]),
        ('1,"a\nb\n\nc",d\n2,e,f\n', [(2, "1"), (6, "2")]),
        ('1,"a\r\nb",c\r\n2,d,"e\r\nf"\r\n3,g,h', [(2, "1"), (4, "2"), (6, "3")]),
        ('1,"a""b","""c"""\n2,"",""\n"3",d,e\n', [(2, "1"), (3, "2"), (4, "3")]),
        ('1,a,"b\nc"', [(2, "1")]),
        ("", []),
        ("\n\n", []),
    ],
    ids=[
        *("plain", "no final newline", "CRLF", "CR at the end", "blank lines", "newlines in cells", "CRLF in cells"),
        *("quotes", "multi-line at the end", "no rows", "only blank lines"),
    ],
)
def test_lines_are_exact(text: str, expected: list[Outcome], size: int) -> None:
    """A row stands at its first line, whatever the cells and lines before it hold, and however the file is cut."""
    assert rows_of(text, size) == expected


BROKEN = [
    ('2,"a,b', "row-error"),
    ('"2,a,b', "row-error"),
    ('2,a,"b', "row-error"),
    ('2,"a"b,c', "row-error"),
    ('2,"a" ,c', "row-error"),
    ('2, "a",c', "row-error"),
    ('2,a"b,c', "row-error"),
    ('2,a,b"', "row-error"),
    ('"', "row-error"),
    ("2,a\rb,c", "row-error"),
    ("2,a", "missing-cell"),
    ("2", "missing-cell,missing-cell"),
    ("   ", "missing-cell,missing-cell"),
    ("2,a,b,c", "extra-cell"),
    ("2,a,b,", "extra-cell"),
]


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize(("broken", "codes"), BROKEN)
def test_a_malformed_line_costs_itself_only(broken: str, codes: str, size: int) -> None:
    """A line that breaks the rules is one rejection, and the rows about it are read: anywhere in the file."""
    assert rows_of(f"1,a,b\n{broken}\n3,c,d\n4,e,f\n", size) == [(2, "1"), (3, codes), (4, "3"), (5, "4")]
    assert rows_of(f"1,a,b\n3,c,d\n{broken}\n", size) == [(2, "1"), (3, "3"), (4, codes)]
    assert rows_of(f"{broken}", size) == [(2, codes)]
    assert rows_of(f"{broken}\r\n1,a,b\r\n", size) == [(2, codes), (3, "1")]


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize(
    "broken", ['"2","a","b', '"2","a,"b"', '"2,"a","b"', '2","a","b"', '"2"","a","b"', '"2","a"b","c"']
)
def test_a_stray_quote_costs_one_line_where_all_is_quoted(broken: str, size: int) -> None:
    """One quote too few or too many costs its own line, also if the quotes of all rows behind it look like its end."""
    others = [f'"{at}","name","mail"\n' for at in range(10, 16)]
    for at in range(len(others) + 1):
        text = "".join([*others[:at], broken + "\n", *others[at:]])
        expected = [str(number) for number in range(10, 16)]
        expected.insert(at, "row-error")
        assert rows_of(text, size) == list(enumerate(expected, 2))


@pytest.mark.parametrize("size", [2**16, 2**18])
@pytest.mark.parametrize("where", [0, 1, 30_000, 59_999, 60_000])
def test_a_stray_quote_in_a_long_file_costs_one_line(where: int, size: int) -> None:
    """Rows far behind a quote that is never closed are read, and those within a mebibyte of it, and the last ones."""
    lines = [f"{at},name of {at},user.{at}@example.com\n" for at in range(60_000)]
    lines.insert(where, '-1,"never closed,x\n')
    reading = read(HEADER + "".join(lines), block_size=size)
    assert reading.codes == [(where + 2, ["row-error"])]
    assert [int(str(row[0])) for row in reading.cells] == list(range(60_000))
    assert reading.lines == [line for line in range(2, 60_003) if line != where + 2]


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_a_record_of_several_lines_and_the_wrong_width_costs_its_first(size: int) -> None:
    """Where a record of several lines does not fit the header, reading resumes at its second line."""
    assert rows_of('1,"a\n2,b,c\n3,d",e,f\n4,g,h\n', size) == [(2, "row-error"), (3, "2"), (4, "row-error"), (5, "4")]
    assert rows_of('1,"a\n2,b,c\n"\n4,g,h\n', size) == [(2, "row-error"), (3, "2"), (4, "row-error"), (5, "4")]


@pytest.mark.parametrize("size", [2**16, 2**18])
def test_a_record_of_several_lines_may_have_a_mebibyte(size: int) -> None:
    """A cell of many lines is one cell up to 1 MiB; beyond that the quote counts as stray, and the lines as rows."""
    lines = "x\n" * (2**19 - 1_000)
    assert rows_of(f'1,"{lines}",b\n2,c,d\n', size) == [(2, "1"), (2 + 2**19 - 1_000 + 1, "2")]
    many = 400_000
    found = rows_of('1,"' + "9,y,z\n" * many + '",b\n2,c,d\n', size)
    assert found[0] == (2, "row-error")
    assert found[1:many] == [(line, "9") for line in range(3, many + 2)]
    assert found[many:] == [(many + 2, "row-error"), (many + 3, "2")]


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_a_byte_that_is_not_utf8_costs_its_row(size: int) -> None:
    """Bytes of another encoding are named; the rows about them are read; the bytes can be written out again."""
    data = b'1,a,b\n2,Jos\xe9,d\n3,e,f\n4,"g\n\xff",h\n5,\xed\xa0\x80,h\n'
    assert rows_of(data, size) == [(2, "1"), (3, "row-error"), (4, "3"), (5, "row-error"), (7, "row-error")]
    reading = read(HEADER.encode() + data, block_size=size)
    first, second, _ = reading.rows.misfits
    assert (message(first.reasons), message(second.reasons)) == (
        "row-error: cannot be decoded: it holds the byte 0xE9 (see --encoding)",
        "row-error: cannot be decoded: it holds the byte 0xFF (see --encoding)",
    )
    raw = values(reading.reader, b"2,Jos\xe9,d")["_raw"]
    assert isinstance(raw, str)
    assert raw.encode(errors="surrogateescape") == b"2,Jos\xe9,d"


def test_cells_that_are_missing_are_named() -> None:
    """A short row says which cells it lacks, a long one how many it has; what stands there is judged as well."""
    reading = read("id,user_id,product_id,quantity\nx,1\n1,2,3,0,5\n", dataset=ORDERS)
    short, long = reading.rows.misfits
    assert [(reason.field, str(reason)) for reason in short.reasons] == [
        ("product_id", "missing-cell: product_id is missing: the row has 2 cells, the header 4"),
        ("quantity", "missing-cell: quantity is missing: the row has 2 cells, the header 4"),
    ]
    assert message(long.reasons) == "extra-cell: has 5 cells, the header 4"
    assert verdicts(parsed(reading, ORDERS)) == [
        [("missing-cell", "product_id"), ("missing-cell", "quantity"), ("type-error", "id")],
        [("extra-cell", None), ("constraint-error", "quantity")],
    ]


@pytest.mark.parametrize(
    ("broken", "words"),
    [('2,"a,b', "double quote"), ("2,a\rb,c", "carriage return"), ("x" * (2**20 + 1), "longer than 1 MiB")],
)
def test_a_row_that_cannot_be_read_says_what_is_in_the_way(broken: str, words: str) -> None:
    """The reason names the character that may not stand there, or the limit."""
    [misfit] = read(HEADER + broken + "\n1,a,b\n").rows.misfits
    assert words in message(misfit.reasons)
    assert misfit.cells == {}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,name", "the header lacks 'email' of users"),
        ("name", "the header lacks 'id', 'email' of users"),
        ("id,name,email,id", "the header names 'id' more than once"),
        ("id,name,email,age", "the header names 'age', .*--ignore-extra"),
        ("id,name,email,", "the header names '', "),
        ("ID,name,email", "the header lacks 'id' of users"),
        ("id,name, email", "the header lacks 'email' of users"),
        ("id;name;email", "the header lacks 'id', 'name', 'email' of users; if another .*--delimiter"),
        ('id,"name,email\n1,a,b\n2,c,d', "the first line is not a header"),
        ('id,na"me,email\n', "the first line is not a header: a quote stands where none may"),
        ("id,name\rx,email\r1,2,3", "the first line is not a header: a carriage return .* stands where none may"),
        ("\n\n\n", "holds nothing but blank lines"),
        ("\r\n", "holds nothing but blank lines"),
        ("id,name,email\r1,a,b\r2,c,d", "header"),
    ],
)
@pytest.mark.parametrize("size", [1, 2**18])
def test_a_header_that_does_not_fit_stops_the_dataset(header: str, words: str, size: int) -> None:
    """Missing, unknown and repeated columns, and a first line that is none, are told with the name of the file."""
    with pytest.raises(SourceError, match=words) as error:
        read(f"{header}\n1,a,b\n" if "\n" not in header else header, block_size=size)
    assert "users.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_header_without_an_end_is_too_long() -> None:
    """A first line that goes on and on is told to do so, and no sign that stands nowhere in it is blamed."""
    with pytest.raises(SourceError, match="the first line is not a header: it is longer than 1 MiB"):
        read("x" * 2**21)


def test_a_byte_that_cannot_be_decoded_is_told_once() -> None:
    """What Python puts in its place stands nowhere in the file; other faults of the row are told as well."""
    block = Block(b"x,G\xff,g@b.c\n", 2, 0)
    [draft] = parse(USERS, CsvReader(USERS.header, USERS.header), block).drafts
    assert [str(reason) for reason in draft.reasons] == [
        "row-error: cannot be decoded: it holds the byte 0xFF (see --encoding)",
        "type-error: id not an integer: 'x'",
    ]


def test_a_header_of_any_number_of_columns_is_told_in_short() -> None:
    """Names that are endless, or that nobody can count, are refused at once, and some of them are told."""
    for columns, words in (
        ("," * 500_000, "the header names '' more than once"),
        ("".join(f",c{at}" for at in range(100_000)), "the header names 'c0', .*'c9' and 99,990 more, which users do"),
        ("".join(f",c{at}" for at in range(50_000)) * 2, "the header names 'c0', .* and 49,990 more more than once"),
        (f",{'x' * 500_000}", r"the header names 'x+\.\.\., which users do not have"),
    ):
        with pytest.raises(SourceError, match=words) as error:
            read(f"id,name,email{columns}\n1,a,b\n")
        assert len(str(error.value)) < 500


def test_a_header_that_is_not_utf8_stops_the_dataset() -> None:
    """The names of columns must be readable."""
    with pytest.raises(SourceError, match=r"users\.csv: the header cannot be decoded: it holds the byte 0xE9"):
        read(b"id,name,email\xe9\n")


def test_a_header_that_never_ends_stops_the_dataset() -> None:
    """Of a file without an end of line, or with a quote that is never closed, no more is read than a row may have."""
    for data in ("x" * 5_000_000, '"' + "x\n" * 2_500_000):
        with pytest.raises(SourceError, match="the first line is not a header"):
            read(data)


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize(
    "header", ["id,name,email", '"id","name","email"', "\n\r\nid,name,email", "id,name,email\r", "\ufeffid,name,email"]
)
def test_a_header_may_be_quoted_and_stand_after_blank_lines(header: str, size: int) -> None:
    """Quoted names, blank lines before them, CRLF and a byte order mark are fine, and count as lines."""
    reading = read(f"{header}\n7,a,b\n", block_size=size)
    assert (reading.columns, reading.cells) == (("id", "name", "email"), [("7", "a", "b")])
    assert reading.lines == [header.count("\n") + 2]


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_columns_may_stand_in_any_order(size: int) -> None:
    """Cells come in the order of the fields, values in that of the file."""
    reading = read('email,id,name\nx@y,1,"a\nb"\nz@y,2,c\n,3\n', block_size=size)
    assert reading.cells == [("1", "a\nb", "x@y"), ("2", "c", "z@y")]
    assert [(misfit.line, misfit.cells) for misfit in reading.rows.misfits] == [(5, {"id": "3", "email": ""})]
    assert list(values(reading.reader, b"z@y,2,c")) == ["email", "id", "name"]


def test_unknown_columns_can_be_left_out() -> None:
    """With --ignore-extra unknown columns are no fault; they stay in the values, and still count as cells."""
    reading = read("x,id,name,y,email\n1,2,3,4,5\n1,2,3\n", ignore_extra=True)
    assert (reading.cells, reading.codes) == ([("2", "3", "5")], [(3, ["missing-cell", "missing-cell"])])
    assert values(reading.reader, b"1,2,3,4,5") == {"x": "1", "id": "2", "name": "3", "y": "4", "email": "5"}


def test_an_optional_column_may_be_missing() -> None:
    """A column that is not needed may be left out of the file: each row has no value there."""
    reading = read("id\n1\n2\n", dataset=NOTES)
    assert list(parsed(reading, NOTES).records) == [(1, None), (2, None)]


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_one_column_is_enough(size: int) -> None:
    """In a file of one column a blank line is no row, and two quotes are an empty cell."""
    reading = read('id\n1\n\n""\n2', dataset=ONES, block_size=size)
    assert (reading.cells, reading.lines) == ([("1",), ("",), ("2",)], [2, 4, 5])


REJECTS = (
    "id,name,email,_line,_row,_source,_reasons,_raw\n"
    "7,Gaming,x@y,48,47,data/users.csv,unique-error: name,\n"
    ',,,9,8,data/users.csv,row-error: ...,"8,""a,b"\n'
    ',,,,3,data/users.json,row-error: ...,"9,c,d"\n'
    "10,e,f,,,,,\n"
    ',,,12,11,data/users.csv,extra-cell: ...,"1,2,3,4"\n'
)


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_a_rejects_file_is_read_back(size: int) -> None:
    """A row of a rejects file is what its cells say or, if these are empty, its `_raw`; it knows its first place."""
    reading = read(REJECTS, block_size=size)
    assert reading.columns == ("id", "name", "email")
    assert reading.cells == [("7", "Gaming", "x@y"), ("9", "c", "d"), ("10", "e", "f")]
    assert (reading.lines, reading.codes) == ([2, 4, 5], [(3, ["row-error"]), (6, ["extra-cell"])])
    assert reading.rows.origins == {
        2: Place("data/users.csv", 48, 47),
        3: Place("data/users.csv", 9, 8),
        4: Place("data/users.json", None, 3),
        6: Place("data/users.csv", 12, 11),
    }


def test_the_values_of_a_rejects_file_are_those_of_its_source() -> None:
    """A row that still fails has its original cells, one that cannot be split its original text."""
    reader = read(REJECTS).reader
    rows = REJECTS.encode().splitlines()
    assert values(reader, rows[1]) == {"id": "7", "name": "Gaming", "email": "x@y"}
    assert values(reader, rows[2]) == {"_raw": '8,"a,b'}
    assert values(reader, rows[3]) == {"id": "9", "name": "c", "email": "d"}
    assert values(reader, rows[5])["_raw"] == "1,2,3,4"


def test_the_values_of_a_row_are_those_of_all_its_lines() -> None:
    """Rows of one line and of several, some with blank lines behind them, are told apart, wherever they stand."""
    rows = ["1,a,b", '2,"c\nd",e', "3,f,g", "", '4,"h\n\n",i', "5,j,k"]
    reading = read(HEADER + "".join(f"{row}\n" for row in rows))
    [block] = reading.blocks
    spans = list(zip(reading.lines, [*reading.lines[1:], None], strict=True))
    for some in (spans, spans[1::2], spans[::2], spans[-1:]):
        found = {line: each["name"] for (line, _), each in zip(some, reading.reader.values(block, some), strict=True)}
        names = dict(zip(reading.lines, ["a", "c\nd", "f", "h\n\n", "j"], strict=True))
        assert found == {line: names[line] for line, _ in some}


def test_bytes_that_are_not_utf8_keep_their_place_in_a_rejects_file() -> None:
    """A row of another encoding that is fed back without being mended stands where it stood at first, as it did."""
    header, row = "id,name,email,_line,_source,_raw\n", b',,,9,users.csv,"2,Jos\xe9,d"\n'
    reading = read(header.encode() + row)
    assert (reading.codes, reading.rows.origins) == ([(2, ["row-error"])], {2: Place("users.csv", 9, None)})
    assert values(reading.reader, row)["_raw"] == "2,Jos\udce9,d"


@given(st.binary(max_size=12).filter(lambda text: text.strip(b"\r\n") == text != b""))
def test_raw_text_survives_a_rejects_file(text: bytes) -> None:
    """What cannot be read is written to a rejects file and read back with the same verdict, whatever bytes it is."""
    original = read(HEADER.encode() + text + b"\n")
    if not original.rows.misfits or b"\n" in text:
        return
    raw = values(original.reader, text)["_raw"]
    assert isinstance(raw, str)
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [["id", "name", "email", "_raw"], ["", "", "", raw]]
    )
    again = read(out.getvalue().encode(errors="surrogateescape"))
    assert [(one.cells, one.reasons) for one in again.rows.misfits] == [
        (one.cells, one.reasons) for one in original.rows.misfits
    ]
    assert values(again.reader, out.getvalue().encode(errors="surrogateescape").partition(b"\n")[2])["_raw"] == raw


CELL = st.text(st.sampled_from('ab",\n\r é'), max_size=4)


@given(
    st.lists(st.tuples(CELL, CELL, CELL), max_size=6),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(1, 30),
)
def test_well_formed_csv_is_read_as_python_reads_it(
    rows: Sequence[tuple[str, str, str]], quoting: Any, end: str, final: bool, size: int
) -> None:
    """For what a writer of CSV writes, cells and lines are those of Python's csv module."""
    if quoting == csv.QUOTE_MINIMAL and end == "\n":  # then Python leaves a CR without quotes
        rows = [(a.replace("\r", ""), b.replace("\r", ""), c.replace("\r", "")) for a, b, c in rows]
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=end).writerows([USERS.names, *rows])
    text = out.getvalue() if final else out.getvalue().removesuffix(end)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, expected = 1, []
    for row in reader:
        expected.append((line, tuple(row)))
        line += text_lines(row) + 1
    reading = read(text, block_size=size)
    assert list(zip(reading.lines, reading.cells, strict=True)) == expected[1:]
    assert [cells for _, cells in expected[1:]] == list(rows)
    assert not reading.rows.misfits


def text_lines(row: Sequence[str]) -> int:
    return sum(cell.count("\n") for cell in row)


ANYTHING = st.lists(st.sampled_from([*'1a",\n\r', '"', "\n", ",a,b\n", '"a","b","c"\n', "\xe9"]), max_size=30).map(
    "".join
)


@given(ANYTHING, st.sampled_from(["utf-8", "latin-1"]), st.integers(1, 40))
def test_each_line_is_accounted_for(text: str, encoding: str, size: int) -> None:
    """Whatever stands in a file, it is read alike for each size of block, and no line but a blank one is lost."""
    data = HEADER.encode() + text.encode(encoding)
    whole, cut_up = read(data), read(data, block_size=size)
    assert cut_up.rows == whole.rows
    spans = dict(zip(whole.lines, whole.cells, strict=True))
    seen: set[int] = set()
    for line, cells in spans.items():
        seen.update(range(line, line + 1 + text_lines([str(cell) for cell in cells])))
    misfits = {misfit.line: misfit for misfit in whole.rows.misfits}
    assert not seen & set(misfits)
    lines = data.split(b"\n")
    for at, content in enumerate(lines[1:], 2):
        if content.strip(b"\r") and at not in seen and at not in misfits:
            before = max((line for line in misfits if line < at), default=0)
            reason = message(misfits[before].reasons) if before else ""
            assert "cannot be decoded" in reason, f"line {at} is lost: {content!r}"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_blank_lines_behind_a_row_are_no_part_of_it(newline: str) -> None:
    """The text of a row, of several lines or one, ends where the record does."""
    reader = read(f"id,name,email{newline}").reader
    for row in ('1,"two\r\nlines\r",c', "1,b"):
        text = (row + newline * 3).encode().removesuffix(b"\n")
        assert values(reader, text) == values(reader, row.encode())


ODD_CELL = st.sampled_from(
    [
        "1",
        "-20",
        "0",
        "007",
        "-0",
        "",
        "two",
        "+5",
        " 7",
        "1.0",
        "1e3",
        "null",
        "true",
        "[1]",
        "1_0",
        "٣",
        '"4"',
        "-",
        "--1",
    ]
) | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30]).map(str)
ODD_LINE = st.lists(ODD_CELL, min_size=4, max_size=4) | st.lists(ODD_CELL, max_size=6)


@given(st.lists(st.just(["5", "6", "7", "8"]) | ODD_LINE, min_size=1, max_size=12), st.sampled_from([",", "-", ";"]))
@example([["1", "1", "1", "-20"]], ",")
@example([["1", "1", "1", "-0"]], ",")
@example([["1", "2", "3"], ["4", "5", "6", "7", "8"]], ",")
def test_integers_are_read_as_all_else_is(rows: list[list[str]], delimiter: str) -> None:
    """Whether lines of integers are read as one array or cell by cell, records, lines and reasons are the same."""
    data = "".join(f"{delimiter.join(row)}\n" for row in rows).encode()
    reader, block = CsvReader(ORDERS.header, ORDERS.header, delimiter, numeric=True), Block(data, 2, 0)
    at_once, one_by_one = (parse(ORDERS, each, block) for each in (reader, evolve(reader, numeric=False)))
    assert list(at_once.records) == list(one_by_one.records)
    assert (list(at_once.lines), at_once.drafts) == (list(one_by_one.lines), one_by_one.drafts)


@pytest.mark.parametrize("line", [b"1,2,3,\xff", b"1,2,3,\xc3\xa9", b"1,2,3,\xf0\x9f\x98", b"1,2,3", b"1,2,3,\x00"])
def test_an_odd_line_among_integers_is_what_it_is_elsewhere(line: bytes) -> None:
    """What cannot be decoded, is not of ASCII, or has too few cells, is told as in any other file."""
    reader, block = CsvReader(ORDERS.header, ORDERS.header, numeric=True), Block(b"4,5,6,7\n%b\n" % line, 2, 0)
    at_once, one_by_one = (parse(ORDERS, each, block) for each in (reader, evolve(reader, numeric=False)))
    assert at_once.drafts == one_by_one.drafts
    assert len(at_once.drafts) == len(at_once.records) == 1


@pytest.mark.parametrize("odd", [[], [0], [7, 8, 99]])
def test_lines_of_integers_take_the_fast_way(odd: list[int]) -> None:
    """A few lines of anything else do not keep the others from being read at once."""
    lines = [b"x,1,1,1" if at in odd else b"%d,1,1,1" % at for at in range(100)]
    reader = CsvReader(ORDERS.header, ORDERS.header, numeric=True)
    rows = reader.rows(Block(b"\n".join(lines) + b"\n", 2, 0))
    assert {type(column) for column in rows.columns} == {array}
    assert [misfit.line for misfit in rows.misfits] == [at + 2 for at in odd]
    assert list(rows.columns[0]) == [line - 2 for line in rows.lines] == [at for at in range(100) if at not in odd]


def test_a_cell_too_many_does_not_make_up_for_one_too_few() -> None:
    """Rows are told apart by their ends, not by how many cells there are in all."""
    assert rows_of("1,a\n2,b,c,d\n3,e,f\n") == [(2, "missing-cell"), (3, "extra-cell"), (4, "3")]
    numbers = CsvReader(ORDERS.header, ORDERS.header, numeric=True).rows(Block(b"1,2,3\n4,5,6,7,8\n", 2, 0))
    assert [misfit.line for misfit in numbers.misfits] == [2, 3]
