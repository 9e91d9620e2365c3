"""Fuzzing: whatever a file is made of, the readers keep their laws, and agree with Python's own where it has a say."""

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from attrs.validators import gt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loader
from loader import Dataset, Job
from loader.core.values import email, max_places, not_blank
from tests.sources import read
from tests.test_cli import environment
from tests.torture import TRIED, WHOLE, new_place, some
from tests.torture.files import FORMS, POLLUTIONS
from tests.torture.readers import CHECKS, CORPUS, check

FEW = settings(max_examples=400 if WHOLE else 5, suppress_health_check=list(HealthCheck))

HAS_ATHERIS = find_spec("atheris") is not None
Fuzzer = tuple["subprocess.Popen[bytes]", Path]
"""A process, and the file that it tells its progress to."""


@pytest.fixture(scope="session", autouse=True)
def fuzzers() -> Iterator[Mapping[str, Fuzzer]]:
    """Fuzzers that are at work while other tests run, so that they take less time of their own; one for each reader.

    They are waited for after all other tests (`conftest.py`).
    """
    effort = "-runs=4400" if WHOLE else "-runs=100"
    begun = {}
    with ExitStack() as stack:
        for ending in CHECKS if HAS_ATHERIS else ():
            directory = stack.enter_context(new_place())
            arguments = [ending, str(directory), effort, "-max_len=400", f"-artifact_prefix={directory}/"]
            program = [sys.executable, "-m", "tests.torture.fuzz", *arguments]
            with (directory / "said").open("wb") as said:
                process = subprocess.Popen(program, env=environment(), stdout=subprocess.DEVNULL, stderr=said)
            stack.enter_context(process)
            stack.callback(process.kill)
            begun[ending] = process, directory / "said"
        yield begun


SEEDS = [path for ending in CHECKS for path in sorted((CORPUS / ending).iterdir())]


@pytest.mark.parametrize("path", some(SEEDS, 15), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus(path: Path) -> None:
    """Each file that once reached another branch, or broke something, is read within the laws."""
    TRIED["files of the corpus"] += 1
    check(path.parent.name, path.read_bytes())


# --- any bytes -------------------------------------------------------------------------------------------------------

ANY = st.binary(max_size=3)


def joined(parts: st.SearchStrategy[bytes], between: st.SearchStrategy[bytes], most: int) -> st.SearchStrategy[bytes]:
    """Parts with something between them, mostly what belongs there."""
    pairs = st.lists(st.tuples(parts, between), max_size=most)
    return pairs.map(lambda pairs: b"".join(part for pair in pairs for part in pair)[: -1 if pairs else None])


CELL = st.sampled_from(
    [b"1", b"a", b"", b'"a"', b'"a\nb"', b'"a\r\nb,"', b'""', b'"a""b"', b'a"b', b'"a"b', b'"', b"\xc3\xa9"]
)
VALUE = st.sampled_from(
    [
        b"1",
        b'"a"',
        b"null",
        b"-0.0",
        b"1e400",
        b"NaN",
        b'"\\ud83d"',
        b'"]\\","',
        b"[1,{}]",
        b'{"a":[]}',
        b"12345678901234567890",
    ]
)
NAME = st.sampled_from([b'"id"', b'"name"', b'"email"', b'"\\u0069d"', b'"x"', b'"_y"'])
MEMBER = st.builds(lambda name, value: name + b":" + value, NAME, VALUE)
ROW = st.builds(
    lambda values, others: b"{" + b",".join([*values, *others]) + b"}",
    st.tuples(*(VALUE.map(name.__add__) for name in (b'"id":', b'"name":', b'"email" : '))),
    st.lists(MEMBER, max_size=1),
)
ELEMENT = ROW | st.builds(lambda members: b"{" + members + b"}", joined(MEMBER, st.just(b","), 4)) | VALUE | ANY
END = st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"x"])
COMMA = st.sampled_from([b",", b",", b" ,\n", b",,", b"\x0c"])
FILES: Mapping[str, st.SearchStrategy[bytes]] = {
    "csv": joined(joined(CELL, st.just(b","), 4) | ANY, END, 8).map(b"id,name,email\n".__add__) | ANY,
    "ndjson": joined(ELEMENT, END, 5),
    "json": joined(ELEMENT, COMMA, 5).map(lambda elements: b"[" + elements + b"]") | ANY,
}


@pytest.mark.parametrize("ending", CHECKS)
@FEW
@given(data=st.data())
def test_any_bytes(ending: str, data: st.DataObject) -> None:
    """No bytes break a law: blocks of any size give the same, each row has its line, and Python's own agree."""
    TRIED["files made up by hypothesis"] += 1
    check(ending, data.draw(FILES[ending]))


@pytest.mark.parametrize("form", [form for form in FORMS if form.ending in CHECKS], ids=lambda form: form.name)
@FEW
@given(data=st.data())
def test_any_damage(form: Any, data: st.DataObject) -> None:
    """Nor does a sound file some of whose cells are polluted, or some of whose bytes are others."""
    TRIED["files made up by hypothesis"] += 1
    records = form.records[:5]
    rows = st.dictionaries(st.integers(0, 4), st.tuples(st.sampled_from([*POLLUTIONS]), st.integers(0, 2)), max_size=3)
    for row, (pollution, column) in data.draw(rows).items():
        if pollution != "an over-long cell":
            records[row] = POLLUTIONS[pollution](form, form.parts(form.users[row]), 2 * column + 1)
    text = bytearray(form.text([b"".join(parts) for parts in records]))
    for at, byte in data.draw(st.dictionaries(st.integers(0, len(text) - 1), st.integers(0, 255), max_size=3)).items():
        text[at] = byte
    check(form.ending, bytes(text))


# --- what is well-formed ---------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text(" \",;|\t\n\r'\\{}[]:x", max_size=6)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@FEW
@given(data=st.data())
def test_csv_is_read_as_python_reads_it(delimiter: str, data: st.DataObject) -> None:
    """What Python's csv writes, in any dialect, is read as Python's csv reads it, wherever it is cut into blocks."""
    TRIED["files made up by hypothesis"] += 1
    rows = data.draw(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=5))
    quoting: Any = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    writer.writerows([("id", "name", "email"), *rows])
    text = out.getvalue()
    if data.draw(st.booleans()):
        text = text.removesuffix("\r\n")
    expected = [tuple(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)]
    reading = read(text, block_size=data.draw(st.integers(1, 60)), delimiter=delimiter)
    assert not reading.rows.misfits
    assert reading.cells == expected[1:] == rows


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False).map(float)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("ending", ["ndjson", "json"])
@FEW
@given(data=st.data())
def test_json_is_read_as_python_reads_it(ending: str, data: st.DataObject) -> None:
    """What Python's json writes, however it is spaced and escaped, is taken whole, wherever it is cut into blocks."""
    TRIED["files made up by hypothesis"] += 1
    rows = data.draw(st.lists(st.fixed_dictionaries({"id": VALUES, "name": VALUES, "email": VALUES}), max_size=4))
    form: dict[str, Any] = {
        "ensure_ascii": data.draw(st.booleans()),
        "separators": data.draw(st.sampled_from([(",", ":"), (" , ", "\t:  ")])),
    }
    if ending == "json":
        text = json.dumps(rows, indent=data.draw(st.sampled_from([None, 0, 3])), **form)
    else:
        text = "".join(json.dumps(row, **form) + data.draw(st.sampled_from(["\n", "\r\n", "\n\n"])) for row in rows)
    reading = read(text or "\n", ending, block_size=data.draw(st.integers(1, 60)))
    assert not reading.rows.misfits
    assert len(reading.cells) == len(rows)
    check(ending, text.encode())


# --- the rules of values ---------------------------------------------------------------------------------------------


def is_int(text: str) -> bool:
    """An integer as Python writes it, or -0, within 64 bits."""
    try:
        return (str(int(text)) == text or text == "-0") and -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def is_price(text: str) -> bool:
    """Plain digits, positive, of at most two places and fifteen digits, as is told one character after the other."""
    whole, point, fraction = text.partition(".")
    digits = set("0123456789")
    plain = bool(whole) and set(whole) <= digits and (whole == "0" or whole[0] != "0")
    plain = plain and (not point or (bool(fraction) and set(fraction) <= digits))
    return plain and Decimal(text) > 0 and len(fraction.rstrip("0")) <= 2 and _digits(whole, fraction) <= 15


def _digits(whole: str, fraction: str) -> int:
    return len(whole.lstrip("0")) + len(fraction.rstrip("0"))


def is_name(text: str) -> bool:
    """Text with something in it, and without what no screen shows."""
    return not text.isspace() and text != "" and not any(ord(each) in _CONTROLS for each in text)


_CONTROLS = {*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)} - {0x09, 0x0A, 0x0D}


def is_email(text: str) -> bool:
    """The rule of the HTML standard and the dots, taken apart by hand."""
    local, at, domain = text.partition("@")
    letters = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    atoms, labels = local.split("."), domain.split(".")
    return (
        bool(at)
        and all(atom and set(atom) <= letters | set("!#$%&'*+/=?^_`{|}~-") for atom in atoms)
        and all(
            0 < len(label) <= 63 and set(label) <= letters | {"-"} and not label.startswith("-") and label[-1] != "-"
            for label in labels
        )
    )


def of(*parts: str) -> st.SearchStrategy[str]:
    """Some of these, in any order, as one text."""
    return st.lists(st.sampled_from(parts), max_size=5).map("".join)


DOMAINS = st.sampled_from(["a", "b.c", "x" * 63, "x" * 64]) | of("a", ".", "-", "x" * 63)
EDGES = st.sampled_from([edge + by for edge in (2**63, -(2**63), 2**64, 10**18, 0) for by in (-1, 0, 1)])
DIGITS = st.from_regex(r"-?[0-9]{0,22}(\.[0-9]{0,20})?", fullmatch=True)
RULES: Mapping[str, tuple[Callable[[str], bool], st.SearchStrategy[str]]] = {
    "id": (
        is_int,
        DIGITS | st.text("0123456789-+_ .e\u0661\uff11\n", max_size=21) | EDGES.map(str),
    ),
    "price": (is_price, DIGITS | st.text("0123456789.-+eE_ nNaf", max_size=18)),
    "name": (is_name, st.text(max_size=5) | st.text(" \t\n\r\x00\x1f\x7f\x85\xa0\u2028a", max_size=3)),
    "email": (
        is_email,
        st.builds("{}@{}".format, of("a", "B9", ".", "..", "+", "\u00e9"), DOMAINS)
        | st.from_regex(r"[a-z.!-]{0,5}@?[a-z0-9.-]{0,6}(\.[a-z-]{0,70})?", fullmatch=True)
        | st.emails()
        | st.text(max_size=5),
    ),
}


@define
class Whole:
    id: int
    value: int


@define
class Price:
    id: int
    value: Decimal = field(validator=[gt(0), max_places(2)])


@define
class Name:
    id: int
    value: str = field(validator=not_blank)


@define
class Address:
    id: int
    value: str = field(validator=email)


MODELS: Mapping[str, Any] = {"id": Whole, "price": Price, "name": Name, "email": Address}


@pytest.mark.parametrize("rule", RULES)
@FEW
@given(data=st.data())
def test_any_value(rule: str, data: st.DataObject) -> None:
    """Of any texts just those are stored that the rule allows, told apart by hand; and they are read back the same."""
    is_allowed, strategy = RULES[rule]
    texts = data.draw(st.lists(strategy, min_size=1, max_size=20))
    TRIED["values made up by hypothesis"] += len(texts)
    rows = [{"id": at, "value": text} for at, text in enumerate(texts)]
    with new_place() as directory:
        database = directory / "values.db"
        report = loader.run([Job(Dataset("values", MODELS[rule], "id"), loader.rows(rows), database)])
        with closing(sqlite3.connect(database)) as connection:
            stored = dict(connection.execute('SELECT id, value FROM "values"'))
    assert report.totals.read == len(texts)
    read_back = {"id": int, "price": Decimal, "name": str, "email": str}[rule]
    assert {at: read_back(str(value)) for at, value in stored.items()} == {
        at: read_back(text) for at, text in enumerate(texts) if is_allowed(text)
    }


# --- atheris ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_ATHERIS, reason="atheris is not installed: pip install 'crossload[fuzz]'")
@pytest.mark.parametrize("ending", CHECKS)
def test_atheris_finds_nothing(ending: str, fuzzers: Mapping[str, Fuzzer]) -> None:
    """Bytes that a fuzzer makes up, led by the branches that they reach, break no law either."""
    process, said = fuzzers[ending]
    code, told = process.wait(timeout=600), said.read_text(errors="replace")
    assert code == 0, told[-2_000:]
    TRIED["inputs that atheris made up"] += int(re.findall(r"#(\d+)\tDONE", told)[-1])
