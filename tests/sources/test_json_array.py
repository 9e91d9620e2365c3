"""A JSON array: proved sound first, then cut into its elements wherever the blocks end."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.core.errors import SourceError
from loader.sources import file_source
from tests.sources import BLOCK_SIZES, message, read
from tests.sources.test_ndjson import VALUES, as_json

NASTY: list[dict[str, Any]] = [
    {"id": 1, "name": 'a"b\\', "email": "]},{["},
    {"id": 2, "name": "\\\\", "email": '\\"'},
    {"id": 3, "name": "tab\tnew\nline\r", "email": "é\U0001f600"},
    {"id": 4, "name": {"x": [{"y": "]"}, []]}, "email": [[], {}, "}"]},
    {"id": 5, "name": "", "email": None},
    {"id": 1.5e300, "name": True, "email": -0.25},
]


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
@pytest.mark.parametrize("escaped", [True, False])
def test_an_array_can_be_cut_anywhere(indent: Any, escaped: bool) -> None:
    """However it is printed, and at whatever byte a block ends, its elements are those that Python reads, in order."""
    text = json.dumps(NASTY, indent=indent, ensure_ascii=escaped)
    for size in range(1, len(text.encode()) + 1):
        reading = read(text, "json", block_size=size)
        assert [tuple(map(as_json, row)) for row in reading.cells] == [tuple(row.values()) for row in NASTY]
        assert reading.lines == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize("text", ["[]", " [ ] ", "\n[\n\n]\n", "\ufeff[]"])
def test_an_empty_array_has_no_rows(text: str, size: int) -> None:
    """An array without elements is sound, and gives nothing."""
    reading = read(text, "json", block_size=size)
    assert (reading.cells, reading.blocks) == ([], [])


@pytest.mark.parametrize("size", BLOCK_SIZES)
def test_elements_that_are_no_objects_are_rejections(size: int) -> None:
    """An element of another type costs itself only, and counts as a row."""
    good = '{"id":1,"name":"a","email":"b"}'
    others = ["1", "-1.5e3", "null", "true", '"a,b]}"', '""', "[]", "[1,[2,{}]]", '{"id":1}', "{}", '{"id":2,"id":3}']
    separator = "\n ,\t"
    text = "[ " + separator.join(f"{good}{separator}{other}" for other in others) + separator + good + "\n]"
    reading = read(text, "json", block_size=size)
    assert reading.lines == list(range(1, 2 * len(others) + 2, 2))
    assert [misfit.line for misfit in reading.rows.misfits] == list(range(2, 2 * len(others) + 1, 2))
    codes = [codes[0] for _, codes in reading.codes]
    assert codes == [*["row-error"] * 8, "missing-cell", "missing-cell", "row-error"]


@pytest.mark.parametrize("depth", [500, 1_000, 1_020, 5_000, 100_000])
def test_deep_nesting_costs_its_element(depth: int) -> None:
    """An element that is nested too deeply, or is no object, is a rejection, and the next is read."""
    for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        reading = read(f'[{deep},{{"id":2,"name":"a","email":"b"}}]', "json")
        assert reading.cells == [(2, "a", "b")]
        assert len(reading.rows.misfits) == 1


@pytest.mark.parametrize("ending", ["json", "json.gz"])
@pytest.mark.parametrize(
    "text",
    [
        *("7", "7 ", "-1.5", "null", "true", '"x"', "{}", '{"id":1,"name":"a","email":"b"}', " 7"),
        *(" ", "\n\n", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1]]", "[1] x", "[1][2]", "[1]\n{}", "x[1]", ",[1]"),
        *(
            '["a]',
            '["a\nb"]',
            '["\\x"]',
            "[NaN]",
            "[01]",
            "[1}",
            '[{"a":1]',
            "[{]}",
            "[/* */1]",
            "['a']",
            "[+1]",
            "[.5]",
        ),
        *('{"id":1,"name":"a","email":"b"}\n{"id":2,"name":"a","email":"b"}',),
        *(b'["\xff"]', b'["\xed\xa0\x80"]', b"[1]\x00", "[1]\ufeff"),
    ],
    ids=repr,
)
def test_a_file_that_is_no_sound_array_stops_the_dataset(text: str | bytes, ending: str) -> None:
    """What is not one well-formed JSON array to its end is refused before a row is read, in one line, with its name."""
    with pytest.raises(SourceError, match=rf"users\.{ending} is not a (well-formed )?JSON array") as error:
        read(text, ending)
    assert "\n" not in str(error.value)
    assert "b'" not in str(error.value)


def test_a_fault_at_the_end_is_found_before_anything_is_read(tmp_path: Path) -> None:
    """An array of megabytes that lacks its last bracket is refused by `verify`."""
    path = tmp_path / "users.json"
    path.write_text("[" + '{"id":1,"name":"a","email":"b"},' * 30_000 + '{"id":1}')
    with pytest.raises(SourceError, match="is not a well-formed JSON array"):
        asyncio.run(file_source(path).verify())


@pytest.mark.parametrize("text", [rb"\udc00", rb"\ude00\ud83d", rb"a\udFFF", b"\xed\xb0\x80"])
def test_half_of_a_pair_that_cannot_be_read_stops_the_dataset(text: bytes) -> None:
    """What the parser makes no character of is told as what it is."""
    with pytest.raises(SourceError, match=r"users\.json is not .*: it holds half of a surrogate pair"):
        read(b'[{"id":1,"name":"' + text + b'","email":"b"}]', "json")


def test_a_number_of_any_size_is_no_bug() -> None:
    """An exponent that only an integer of any length could hold stops the dataset; a smaller one costs its element."""
    for number, cells in ((f"1e{'9' * 18}", [(2, "a", "b")]), (f"-1.5E-{'9' * 30}", None)):
        text = f'[{{"id":{number},"name":"a"}},{{"id":2,"name":"a","email":"b"}}]'
        if cells is None:
            with pytest.raises(SourceError, match=r"users\.json holds a number with an exponent"):
                read(text, "json")
        else:
            assert read(text, "json").cells == cells


@pytest.mark.parametrize("filler", ['"' + "x" * 5_000_000 + '"', "7" * 5_000_000, " " * 5_000_000])
def test_a_value_without_end_stops_the_dataset(filler: str) -> None:
    """What would fill the memory before a parser tells of it is refused, be it text, a number or blanks."""
    with pytest.raises(SourceError, match=r"users\.json holds a value, or a gap, of more than 4 MiB"):
        read(f"[1,{filler},2]", "json")


@pytest.mark.parametrize(("begin", "end", "size"), [("[", "]", 7), ("{", "}", 2**18)])
def test_an_element_without_end_costs_itself_only(begin: str, end: str, size: int) -> None:
    """However long an element is, and whatever is in it, no more of it is kept than shows that it is too long."""
    good = '{"id":1,"name":"a","email":"b"}'
    part = f'"]}}\\\\\\"[{{{"x" * 80},"{":" if begin == "{" else ","}[{{}}]'
    long = f"{begin}{','.join([part] * 100_000)}{end}"
    reading = read(f"[{good},\n{long} , {good}]", "json", block_size=size)
    assert (reading.lines, reading.codes) == ([1, 3], [(2, ["row-error"])])
    assert message(reading.rows.misfits[0].reasons) == "row-error: is longer than 1 MiB"
    assert max(len(block.data) for block in reading.blocks) < 2**21
    [raw] = [text for block in reading.blocks for text in block.data.splitlines() if len(text) > 2**20]
    assert long.encode().startswith(raw)


@given(st.lists(VALUES | st.fixed_dictionaries({"id": VALUES, "name": VALUES, "email": VALUES}), max_size=4), st.data())
def test_elements_are_those_that_python_reads(elements: list[Any], data: st.DataObject) -> None:
    """For any array, however printed and cut, the lines of the blocks are its elements."""
    text = json.dumps(
        elements,
        indent=data.draw(st.sampled_from([None, 1])),
        ensure_ascii=data.draw(st.booleans()),
        separators=data.draw(st.sampled_from([(",", ":"), (" , ", " : ")])),
    )
    reading = read(text, "json", block_size=data.draw(st.integers(1, 40)))
    lines = b"".join(block.data for block in reading.blocks).splitlines()
    assert [json.loads(line) for line in lines] == elements
    assert len(reading.cells) + len(reading.rows.misfits) == len(elements)
