"""NDJSON: which lines are rows, and what their values are, to the last digit."""

import json
import re
from array import array
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field, make_class
from hypothesis import example, given
from hypothesis import strategies as st

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.records import MAX_ROW, Block, Place
from loader.core.values import Number
from loader.datasets.orders import ORDERS
from loader.sources import uniform
from loader.sources.ndjson import NdjsonReader
from tests.sources import BLOCK_SIZES, message, parsed, read, values, verdicts


@define
class Measure:
    id: int
    value: Decimal | None
    note: str = "none"


MEASURES = Dataset("measures", Measure, "id")
LONG = "1" * 5_000


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"id":1,"name":"a","email":"b"}\n{"id":2,"name":"c","email":"d"}\n', [1, 2]),
        ('\n \r\n{"id":1,"name":"a","email":"b"}\r\n\n{"id":2,"name":"c","email":"d"}', [3, 5]),
        ('  {"email" : "b", "name":"a" ,"id":1 }\t\n{"id":2,"name":"c\\n","email":"d"}\r', [1, 2]),
    ],
    ids=["plain", "blank lines", "white space"],
)
def test_each_line_is_a_row(text: str, lines: list[int], size: int) -> None:
    """Each line that is not blank is a row, at that line, whatever the order of its members."""
    reading = read(text, "ndjson", block_size=size)
    assert reading.lines == lines
    assert [row[0] for row in reading.cells] == [1, 2]
    assert reading.columns == ("id", "name", "email")


@pytest.mark.parametrize("size", [1, 2**18])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id":1,"name":"a"', "is not JSON"),
        ('{"id":1,"name":"a","email":"b"} x', "is not JSON"),
        ('{"id":1,"name":"a","email":"b"}{}', "is not JSON"),
        ("{'id':1}", "is not JSON"),
        ('{"id":01,"name":"a","email":"b"}', "is not JSON"),
        ('{"id":NaN,"name":"a","email":"b"}', "is not JSON"),
        ('{"id":Infinity,"name":"a","email":"b"}', "is not JSON"),
        ('{"id":1,"name":"a\tb","email":"b"}', "is not JSON"),
        (b'{"id":1,"name":"Jos\xe9","email":"b"}', "cannot be decoded: it holds the byte 0xE9"),
        (b'{"id":1,"name":"\xed\xa0\x80","email":"b"}', "cannot be decoded: it holds the byte 0xED"),
        ("[" * 100_000, "is not JSON"),
        ('{"id":' + "[" * 2_000 + "]" * 2_000 + "}", "is not JSON"),
        ("[" * 1_020 + "]" * 1_020, "is not a JSON object"),
        ('[1,"a","b"]', "is not a JSON object: [1, 'a', 'b']"),
        ('"id"', "is not a JSON object: 'id'"),
        ("null", "is not a JSON object: None"),
        ("7", "is not a JSON object: 7"),
        ('{"id":1,"id":2,"name":"a","email":"b"}', "names 'id' more than once"),
        ('{"id":1,"name":"a","email":"b","name":"a"}', "names 'name' more than once"),
        ('{"id":1,"\\u0069d":2,"name":"a","email":"b"}', "names 'id' more than once"),
        ('{"id":1,"id" :2,"name":"a","email":"b"}', "names 'id' more than once"),
        ('{"id" :1,"id":2,"name":"a","email":"\\":"}', "names 'id' more than once"),
        ('{"id":1,"name":{"a":1,"a":2},"email":"b"}', "names 'a' more than once"),
    ],
    ids=lambda given_: str(given_)[:50],
)
def test_a_line_that_is_no_row_costs_itself_only(line: str | bytes, words: str, size: int) -> None:
    """What is no JSON object, or one that readers do not agree on, is one rejection that says what is wrong."""
    good = b'{"id":1,"name":"a","email":"b"}\n'
    line = line.encode() if isinstance(line, str) else line
    if size == 1 and len(line) > 1_000:
        return
    reading = read(good + line + b"\n" + good, "ndjson", block_size=size)
    assert (reading.lines, reading.codes) == ([1, 3], [(2, ["row-error"])])
    assert words in message(reading.rows.misfits[0].reasons)
    raw = values(reading.reader, line)["_raw"]
    assert isinstance(raw, str)
    assert raw.encode(errors="surrogateescape") == line


def test_any_number_of_members_is_gone_through_once() -> None:
    """A name that stands there twice is found at once, however many there are."""
    others = "".join(f'"c{at}":1,' for at in range(80_000))
    reading = read(f'{{"id":1,{others}"name":"a","email":"b","email":"b"}}\n', "ndjson")
    assert message(reading.rows.misfits[0].reasons) == "row-error: names 'email' more than once"


def test_members_that_are_missing_or_unknown_are_named() -> None:
    """Each name that is missing or unknown is a reason; what stands there is judged as well."""
    reading = read('{"id":"x","user_id":1,"amount":2,"": 3}\n', "ndjson", ORDERS)
    assert verdicts(parsed(reading, ORDERS)) == [
        [
            ("missing-cell", "product_id"),
            ("missing-cell", "quantity"),
            ("extra-cell", "amount"),
            ("extra-cell", ""),
            ("type-error", "id"),
        ]
    ]
    assert [reason.value for reason in reading.rows.misfits[0].reasons] == [None, None, 2, 3]


def test_optional_members_may_be_left_out() -> None:
    """A member that is not needed may be missing; null is no value as well."""
    reading = read('{"id":1,"value":null,"note":"x"}\n{"id":2}\n{"id":3,"note":null,"x":1}\n', "ndjson", MEASURES)
    assert verdicts(parsed(reading, MEASURES)) == [(1, None, "x"), (2, None, "none"), [("extra-cell", "x")]]


@pytest.mark.parametrize(
    "line", ['{"id":1,"x":2,"name":"a","email":"b"}', '{"id":1,"name":"a","email":"b","y":[{"x":1}]}']
)
def test_unknown_members_can_be_left_out(line: str) -> None:
    """With --ignore-extra unknown members are no fault; they stay in the values."""
    assert read(line, "ndjson").codes == [(1, ["extra-cell"])]
    reading = read(line, "ndjson", ignore_extra=True)
    assert reading.cells == [(1, "a", "b")]
    assert values(reading.reader, line.encode()) == json.loads(line)


def verdict(ending: str, column: str, number: str) -> object:
    """What becomes of a number that stands in a field, by its record or the codes of its reasons."""
    values = {"id": "1", "value": "1", "note": '"n"', column: number}
    if ending == "csv":
        text = "id,value,note\n" + ",".join(value.strip('"') for value in values.values())
    else:
        text = "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"
        text = f"[{text}]" if ending == "json" else text
    return verdicts(parsed(read(text + "\n", ending, MEASURES), MEASURES))


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][-+]?[0-9]{1,2})?", fullmatch=True)


@given(NUMBERS, st.sampled_from(["ndjson", "json"]), st.sampled_from(["id", "value"]))
@example("0.00001", "ndjson", "value")
@example("-0.0", "ndjson", "value")
@example("10000000000000000.0", "ndjson", "value")
@example("123456789012345.5", "ndjson", "value")
@example("1.0000000000000000001", "ndjson", "value")
@example("0.1000000000000001", "ndjson", "value")
@example("9223372036854775808", "ndjson", "value")
@example("18446744073709551616", "ndjson", "id")
@example("-9223372036854775809", "ndjson", "id")
@example("1.0", "ndjson", "id")
def test_a_number_gets_the_same_verdict_as_in_csv(number: str, ending: str, column: str) -> None:
    """A number is judged by the text that stands in the file, not by the binary float that a parser makes of it."""
    assert verdict(ending, column, number) == verdict("csv", column, number)


@pytest.mark.parametrize("ending", ["ndjson", "json"])
@pytest.mark.parametrize(
    ("column", "number", "expected"),
    [
        ("value", "19.990", (1, 19.99, "n")),
        ("value", "-0", (1, 0, "n")),
        ("id", "-0", (0, 1, "n")),
        ("value", "1e2", [("type-error", "value")]),
        ("value", "0.00001", (1, 0.00001, "n")),
        ("value", "1.0000000000000000001", [("constraint-error", "value")]),
        ("value", LONG, [("constraint-error", "value")]),
        ("value", f"0.{LONG}", [("constraint-error", "value")]),
        ("id", LONG, [("type-error", "id")]),
        ("id", "9223372036854775807", (2**63 - 1, 1, "n")),
        ("id", "9223372036854775808", [("type-error", "id")]),
        ("id", "1.0", [("type-error", "id")]),
        ("note", "7", [("type-error", "note")]),
        ("note", "7.5", [("type-error", "note")]),
        ("note", "1e400", [("type-error", "note")]),
        ("value", "-1e400", [("type-error", "value")]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_numbers_whose_text_matters(ending: str, column: str, number: str, expected: object) -> None:
    """No digit is lost, no exponent passes, and a number of any length is a value, never a crash."""
    if ending == "json" and number == LONG:
        with pytest.raises(SourceError, match="a number of thousands of digits"):
            verdict(ending, column, number)
    else:
        assert verdict(ending, column, number) == [expected]


@pytest.mark.parametrize("ending", ["ndjson", "json"])
@pytest.mark.parametrize("value", ["true", "false", "[1]", "{}", '{"a":[{}]}', '"x y"', "[" * 1_000 + "]" * 1_000])
def test_a_value_of_another_type_is_a_type_error(ending: str, value: str) -> None:
    """Booleans, lists and objects are no number, however deep; and no text."""
    assert verdict(ending, "value", value) == [[("type-error", "value")]]
    assert verdict(ending, "id", value) == [[("type-error", "id")]]
    if value[0] != '"':
        assert verdict(ending, "note", value) == [[("type-error", "note")]]


@pytest.mark.parametrize("ending", ["ndjson", "json"])
def test_half_of_a_surrogate_pair_costs_its_row(ending: str) -> None:
    """An escape that is no character is a fault of its row, and the number beside it is read."""
    [codes] = verdict_of_note(ending, '"\\ud800"')
    assert codes in ([("row-error", None)], [("type-error", "note")])
    assert verdict_of_note(ending, '"\\ud83d\\ude00"') == [(1, 1, "\U0001f600")]


def verdict_of_note(ending: str, text: str) -> list[object]:
    found = verdict(ending, "note", text)
    assert isinstance(found, list)
    return found


def test_text_that_is_a_number_is_read_as_in_csv() -> None:
    """A number written as text is as good as a number, if its text is."""
    assert verdict("ndjson", "value", '"19.990"') == [(1, 19.99, "n")]
    assert verdict("ndjson", "id", '"1_0"') == [[("type-error", "id")]]


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def as_json(value: Any) -> Any:
    """A value as Python's json reads it."""
    match value:
        case Number():
            return json.loads(value)
        case dict():
            return {name: as_json(one) for name, one in value.items()}
        case list():
            return [as_json(one) for one in value]
        case _:
            return value


@given(
    st.lists(st.fixed_dictionaries({"id": VALUES, "name": VALUES, "email": VALUES}), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([(",", ":"), (" , ", " : ")]),
    st.integers(1, 50),
)
def test_json_is_read_as_python_reads_it(
    rows: list[Mapping[str, Any]], escaped: bool, separators: tuple[str, str], size: int
) -> None:
    """Whatever is valid JSON has the values that Python's json finds, numbers of any length included."""
    text = "".join(json.dumps(row, ensure_ascii=escaped, separators=separators) + "\n" for row in rows)
    reading = read(text, "ndjson", block_size=size)
    assert not reading.rows.misfits
    assert [tuple(map(as_json, row)) for row in reading.cells] == [
        (row["id"], row["name"], row["email"]) for row in rows
    ]


def rejected(**members: object) -> str:
    return json.dumps(members) + "\n"


REJECTS = [
    rejected(id=7, name="Gaming", email="x@y", _line=48, _row=47, _source="users.ndjson", _reasons="unique-error"),
    rejected(_raw='{"id":8,', _line=9, _row=8, _source="users.ndjson"),
    rejected(_raw='{"id":9,"name":"c","email":"d"}', _line=None, _row=3, _source="users.json"),
    rejected(_raw='{"id":1,"name":"Jos\udce9"}', _line=12, _source="users.ndjson"),
    rejected(id=10, name="e", email="f", _line="x", _row="y", _source="users.ndjson"),
    rejected(id=11, name="e", email="f", _source=7),
]


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_a_rejects_file_is_read_back(size: int) -> None:
    """A row of a rejects file is its members or, if it has none, its `_raw`; it knows where it stood at first."""
    reading = read("".join(REJECTS), "ndjson", block_size=size)
    assert reading.cells == [(7, "Gaming", "x@y"), (9, "c", "d"), (10, "e", "f"), (11, "e", "f")]
    assert reading.codes == [(2, ["row-error"]), (4, ["row-error"])]
    assert reading.rows.origins == {
        1: Place("users.ndjson", 48, 47),
        2: Place("users.ndjson", 9, 8),
        3: Place("users.json", None, 3),
        4: Place("users.ndjson", 12, None),
        5: Place("users.ndjson", None, None),
    }


def test_the_values_of_a_rejects_file_are_those_of_its_source() -> None:
    """A row that still fails has its original members, without loader's own, or its original text."""
    reader = read("".join(REJECTS), "ndjson").reader
    assert [dict(values(reader, row.encode())) for row in REJECTS] == [
        {"id": 7, "name": "Gaming", "email": "x@y"},
        {"_raw": '{"id":8,'},
        {"id": 9, "name": "c", "email": "d"},
        {"_raw": '{"id":1,"name":"Jos\udce9"}'},
        {"id": 10, "name": "e", "email": "f"},
        {"id": 11, "name": "e", "email": "f"},
    ]


@pytest.mark.parametrize("raw", ["7", "null", '["_raw"]', '{"_raw": 7}', '"_raw"', '{"_raw":' * 2_000])
def test_a_raw_that_is_no_row_is_still_none(raw: str) -> None:
    """What stands in `_raw` may be anything: it is a rejection, not a crash."""
    reading = read(rejected(_raw=raw) + raw + "\n", "ndjson")
    assert not reading.cells
    assert len(reading.rows.misfits) == 2


@given(
    st.lists(
        st.sampled_from([*'{}[]":,\\ 1a\r\n', '{"id":1,"name":"a","email":"b"}\n', '"_raw":', '"id"', "\xe9"]),
        max_size=20,
    )
)
def test_each_line_is_a_row_or_a_rejection(parts: list[str]) -> None:
    """Whatever stands in a file, each line that is not blank is accounted for, once."""
    data = b"{}\n" + "".join(parts).encode("latin-1")
    reading = read(data, "ndjson")
    lines = [at for at, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    assert sorted([*reading.lines, *(misfit.line for misfit in reading.rows.misfits)]) == lines


ODD_LINES = st.sampled_from(
    [
        '{"id":1,"value":"2","note":"a"}',
        '{"note":"a","value":2.5,"id":2}',
        '{"id":3,"value":1e5,"note":"a"}',
        '{"id":3,"value":20000000000000000000,"note":"a"}',
        '{"id":4,"value":null,"note":"a:b"}',
        '{"id":5,"value":1,"note":"{"}',
        '{"id":5,"value":1,"note":"}\\n{"}',
        '{"id":6,"value":1,"value":2}',
        '{"id":6,"value":1,"value":2,"note":"a"}',
        '{"id":7,"value":1}',
        '{"id":7,"value":1,"other":"a"}',
        '{"id":7,"value":1,"note":"a","other":1}',
        '{"id":8,"value":1,"note":"a"},{"id":9,"value":1,"note":"a"}',
        '{"id":8,"value":1,"note":["a"',
        '"b"]}',
        '{"id":8,"value":[{}',
        '{}],"note":"a"}',
        '{"id":8,"value":1,',
        '"note":"a"}',
        '{"id":NaN,"value":1,"note":"a"}',
        "[1]",
        "",
        ' {"id":9,"value":1,"note":"a"}\r',
        '{"id":true,"value":1,"note":[1, 2]}',
    ]
)


@given(st.lists(ODD_LINES, min_size=1, max_size=5))
@example(
    ['{"id":8,"value":1,"note":"a"},{"id":9,"value":1,"note":"a"}', '{"id":8,"value":[{}', '{}],"note":"a"}']
)  # two objects, and two halves of one, with as many colons as three have
@example(['{"id":8,"value":1,"note":"a"},[1],{"id":9,"value":1,"note":"a"}', "{}"])
@example(['{"id":8,"value":1,"note":"a"},{"id":9,"value":1,"note":"a"}', "{},{}"])
def test_lines_are_read_together_as_they_are_one_by_one(lines: list[str]) -> None:
    """Whether a block is split at once or line by line, the rows are the same, to the last digit."""
    read_alike(MEASURES, "".join(f"{one}\n" for one in lines).encode())


def read_alike(dataset: Dataset, data: bytes) -> None:
    reader, block = NdjsonReader.of(dataset, ignore_extra=False), Block(data, 1, 0)
    together, one_by_one = reader.rows(block), reader._any_rows(block)
    columns = [map(str, column) if isinstance(column, array) else column for column in together.columns]
    assert [list(map(repr, column)) for column in columns] == [list(map(repr, column)) for column in one_by_one.columns]
    assert list(together.lines) == list(one_by_one.lines)
    assert list(together.misfits) == list(one_by_one.misfits)


FORMS = (
    ('{"id":%s,"user_id":%s,"product_id":%s,"quantity":%s}', [["1", "-20", "3", "4"], ["5", "0", "77", "8"]]),
    (
        '{"id": "%s", "user_id": "%s", "product_id": "%s", "quantity": "%s"}\r',
        [["1", "2", "3", "4"], ["", "é:", "{,}", "4"]],
    ),
    (
        '\t{ "quantity" : "%s" ,"id":%s , "user_id" : %s, "product_id":"%s"} ',
        [["1", "2", "3", "4,5"], ["x", "5", "6", ""]],
    ),
)
ODD_PIECES = st.sampled_from(
    [
        *'",:{}1.- \x00\x01\x02\x1f\x7f\r\n\xff',
        r"\n",
        r"\"",
        "-0",
        "1,2",
        "e5",
        "true",
        '"user_id":',
        '", "id": "',
        str(2**63),
    ]
)


@given(st.sampled_from(FORMS), st.lists(st.tuples(st.integers(0, 99), st.booleans(), ODD_PIECES), max_size=3))
@example(FORMS[0], [(5, False, "\0"), (6, False, ""), (7, False, ""), (8, False, "")])
@example(FORMS[0], [(4, False, "true")])
@example(FORMS[1], [(33, True, r"\n")])
@example(FORMS[1], [(33, True, '"')])
@example(FORMS[0], [(6, False, '"product_id'), (11, False, '"user_id')])
@example(FORMS[0], [(0, False, "5{")])
@example(FORMS[0], [(0, True, "5")])
@example(FORMS[0], [(6, False, '"user5_id')])
@example(FORMS[0], [(6, False, '"user_id,')])
@example(FORMS[0], [(-1, True, "5")])
@example(FORMS[0], [(-1, True, "\n5")])
def test_uniform_lines_are_read_as_each_by_itself(
    form: tuple[str, list[list[str]]], edits: list[tuple[int, bool, str]]
) -> None:
    """Lines that are split without a parser give what one makes of them, whatever is done to the last."""
    first, last = (form[0] % tuple(values) for values in form[1])
    parts = re.findall(r'"\w*|\w+|.', last, re.DOTALL)
    for position, is_more, piece in edits:
        at = position % len(parts)
        parts[at] = parts[at] + piece if is_more else piece
    read_alike(ORDERS, f"{first}\n{''.join(parts)}\n".encode())
    read_alike(ORDERS, f"{first}\n{''.join(parts)}\n".encode("latin-1"))


@pytest.mark.parametrize(
    "second", ['{"id": "b"}', '{"id": "b"]', '{"id": ""}', '{"name": "b"}', '{"id": "b", "name": "c"}']
)
def test_lines_of_a_single_field_are_read_as_each_by_itself(second: str) -> None:
    """There is nothing between the values of a line that has but one."""
    tags = Dataset("tags", make_class("Tag", {"id": field(type=str)}), "id")
    read_alike(tags, f'{{"id": "a"}}\n{second}\n'.encode())
    read_alike(tags, f"{second}\n".encode())


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("before", [0, 1, 2_000])
def test_a_line_is_too_long_in_a_long_block_as_well(before: int, more: int) -> None:
    """A block may be longer than a row, and may hold one of just the most bytes a row may have, or one more."""
    line = '{"id": "1", "user_id": "2", "product_id": "3", "quantity": "%s"}'
    longest = line % ("4" * (MAX_ROW + more - len(line) + 2))
    data = "\n".join([*[line % 4] * before, longest, *[line % 4] * 2_000, ""]).encode()
    read_alike(ORDERS, data)
    assert uniform.columns(data, ORDERS.header, numeric=False)
    assert (list(NdjsonReader.of(ORDERS, ignore_extra=False).rows(Block(data, 1, 0)).misfits) == []) == (more <= 0)


@pytest.mark.parametrize(("form", "values"), FORMS)
def test_uniform_lines_take_the_fast_way(form: str, values: list[list[str]]) -> None:
    """Objects of just the fields in any order are not parsed one by one, nor are those with values that differ."""
    lines = [form % tuple(each) for each in values]
    assert uniform.columns("\n".join([*lines, ""]).encode(), ORDERS.header, numeric=True)
