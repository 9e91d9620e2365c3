"""Lines of JSON objects that differ only in texts without escapes and in integers: they are split without a parser.

What stands between the values of the first line is replaced by marks, characters of which no JSON text holds any. If
the marks come in turn to the end, and nothing is left that could end a text, any line is as sound as the first. Where
all values are integers no mark is needed: it is enough that without digits all lines are the same.
"""

import re
from array import array
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import orjson
from attrs import frozen

from loader.core.kinds import INT, integers

_NAME = rb'\s*+[{,]\s*+"[^"\\]*+"\s*+:\s*+'
_VALUE = rb'"[^"\\]*+"|-?[0-9]++'
_LINE = re.compile(rb"(?:%b(?:%b))++(\s*+}\s*+)" % (_NAME, _VALUE))
_MEMBER = re.compile(rb"(%b)(%b)" % (_NAME, _VALUE))

_MARKS = bytes(range(32)).replace(b"\n", b"")
_TO_LINES = bytes.maketrans(_MARKS, b"\n" * 31)
_TO_COMMAS = bytes.maketrans(b"\n", b",")
_IN_INTEGERS = b"-0123456789"
_AROUND_INTEGERS = bytes(each for each in range(256) if each not in _IN_INTEGERS + b",\n")
_WITHIN_TEXTS = bytes(each for each in range(32, 256) if each not in b'"\\')


@frozen
class _Form:
    """A line but for its values: what stands before each and behind the last, and which of them are texts."""

    names: Sequence[str]
    around: Sequence[bytes]
    are_texts: Sequence[bool]


def _form(line: bytes) -> _Form | None:
    """The form of a line, if it is an object of such values, each with a name of its own."""
    if not (whole := _LINE.fullmatch(line)):
        return None
    members = _MEMBER.findall(line)
    are_texts = [value.startswith(b'"') for _, value in members]
    quotes = [b"", *(b'"' if is_text else b"" for is_text in are_texts), b""]
    between = [*(name for name, _ in members), whole[1]]
    around = [end + piece + begin for piece, (end, begin) in zip(between, pairwise(quotes), strict=True)]
    try:
        names = list(orjson.loads(line))
    except ValueError:
        return None
    return _Form(names, around, are_texts) if len(names) == len(members) <= len(_MARKS) else None


def columns(data: bytes, fields: Collection[str], numeric: bool) -> Mapping[str, Sequence[object]] | None:
    """The columns of lines that are objects of just these fields, in any order; None if the lines are not uniform.

    If the fields are `numeric`, columns of texts that are such are arrays of them.
    """
    form, width = _form(data[: data.find(b"\n") + 1]), len(fields)
    if not form or {*form.names} != {*fields}:
        return None
    cells = (numeric and _integers(data, form)) or _texts(_marked(data, form))
    found: dict[str, Sequence[object]] = {}
    for at, (name, is_text) in enumerate(zip(form.names, form.are_texts, strict=True)):
        column = cells[at::width] if is_text else INT.read_all(cells[at::width])
        if not column:
            return None
        found[name] = column if is_text else list(column)
    return found


def _marked(data: bytes, form: _Form) -> bytes:
    """The values of lines of a form, with marks in place of what stands between; nothing if not all are of that form.

    What takes most is looked for first, so that the less is left to be looked through.
    """
    [head, *between, tail] = form.around
    if not (data.startswith(head) and data.endswith(tail)):
        return b""
    marks = [*(_MARKS[at : at + 1] for at in range(len(between))), b"\n"]
    marked = data[len(head) : -len(tail)]
    for piece, mark in sorted(zip([*between, tail + head], marks, strict=True), key=lambda each: -len(each[0])):
        marked = marked.replace(piece, mark)
    count = data.count(b"\n")
    taken = (sum(map(len, form.around)) - len(marks)) * count + 1
    in_turn = marked.translate(None, _WITHIN_TEXTS) == (b"".join(marks) * count)[:-1]
    return marked if in_turn and len(marked) + taken == len(data) else b""  # a mark that was there has taken nothing


def _integers(data: bytes, form: _Form) -> "array[int] | None":
    """The values of lines of a form, where all are integers; None if they are not.

    But for digits all lines are the same; and these stand where the values do, if each piece between is there as often
    as there are lines. (A comma in a name makes two commas side by side, which are no JSON.)
    """
    [head, *between, tail] = form.around
    count = data.count(b"\n")
    if data.translate(None, _IN_INTEGERS) != b"".join(form.around) * count:
        return None
    if any(data.count(piece) != count for piece in between) or (tail + data + head).count(tail + head) != count + 1:
        return None
    return integers(data.translate(_TO_COMMAS, _AROUND_INTEGERS)[:-1])


def _texts(marked: bytes) -> Sequence[str]:
    try:
        return marked.translate(_TO_LINES).decode().split("\n") if marked else ()
    except UnicodeDecodeError:
        return ()
