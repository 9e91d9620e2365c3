"""From a block to a batch: the model's verdict on each row, without a look at any other record.

`parse` is pure and picklable. It reads and checks column by column; a record that is beyond doubt is never built. The
model is asked about the others, and a row that it refuses is gone through field by field, to name all that is wrong.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, starmap
from operator import attrgetter
from typing import Any

from attrs import NOTHING, Attribute, Converter

from loader.core.columns import doubtful, is_sure, parts
from loader.core.dataset import Dataset
from loader.core.fields import Field
from loader.core.records import Batch, Block, Draft, Reader, Reason, Record, Records, without
from loader.core.values import shortened

Column = Sequence[object]


def parse(dataset: Dataset, reader: Reader, block: Block) -> Batch:
    """The records of a block, and drafts of the rows that do not fit or that the model refuses."""
    dataset = dataset.held if block.made else dataset
    rows = reader.rows(block)
    refused: set[int] = set()
    columns = [_read(each, cells, refused) for each, cells in zip(dataset.loaded, rows.columns, strict=False)]
    records = _checked(dataset, columns, refused) if dataset.checks else _built(dataset, columns, refused)
    refused_at = sorted(refused)
    drafts = [_draft(dataset, each.line, each.cells, each.reasons) for each in rows.misfits]
    for at in refused_at:
        cells = dict(zip(dataset.header, rows.cells(at), strict=True))
        drafts.append(_draft(dataset, rows.lines[at], cells))
    return Batch(records, without(rows.lines, refused_at), sorted(drafts, key=attrgetter("line")), rows.origins)


def _in_parts(
    column: Column, together: Callable[[Column], Column | None], singly: Callable[[int, Any], object], start: int = 0
) -> Column:
    """What `together` makes of a column or, where it is not sure, of parts of it; of a single one, `singly`."""
    found = together(column)
    if found is not None:
        return found
    if len(column) == 1:
        return [singly(start, column[0])]
    return list(chain.from_iterable(_in_parts(part, together, singly, start + at) for at, part in parts(column)))


def _read(one: Field, cells: Column, refused: set[int]) -> Column:
    """The values of a column, with that of another row, if there is any, for what cannot be read, which is refused."""
    unread: set[int] = set()

    def read(at: int, cell: object) -> object:
        try:
            return one.read(cell)
        except Exception:  # not only what cannot be read: a default's factory may raise anything
            unread.add(at)
            return None

    values = one.read_all(cells)
    while values is None and (found := one.misread(cells)):
        cells = list(cells)
        for at in found:
            cells[at] = "0"
        unread.update(found)
        values = one.read_all(cells)
    column: Any = _in_parts(cells, one.read_all, read) if values is None else values
    sound = next((at for at in range(len(column)) if at not in unread), None)
    for at in unread if sound is not None else ():
        column[at] = column[sound]
    refused |= unread
    return _as_array(column)


def _checked(dataset: Dataset, columns: Sequence[Column], refused: set[int]) -> Records:
    """What the database keeps of each row that is not refused, by the checks of its columns; in doubt, by its model."""
    in_doubt: set[int] = set()
    stored = []
    for each, check, values in zip(dataset.fields, dataset.checks or (), columns, strict=False):
        in_doubt.update(doubtful(partial(is_sure, check), values))
        stored.append(_in_parts(values, each.store_all, lambda at, _: in_doubt.add(at)))
    beyond_doubt = {}
    for row in in_doubt - refused:
        try:
            beyond_doubt[row] = dataset.stored(dataset.construct(*(values[row] for values in columns)))
        except Exception:  # whatever a model raises is its refusal
            refused.add(row)
    for at, each in enumerate(dataset.fields if beyond_doubt else ()):
        if not each.kind.as_is:
            stored[at] = column = list(stored[at])
            for row, record in beyond_doubt.items():
                column[row] = record[at]
    return Records(stored).without(sorted(refused))


def _as_array(values: Column) -> Column:
    """Integers as an array of 64 bits each, as most columns of them are read."""
    if isinstance(values, list) and values and type(values[0]) is int and set(map(type, values)) == {int}:
        with suppress(OverflowError):
            return array("q", values)
    return values


def _built(dataset: Dataset, columns: Sequence[Column], refused: set[int]) -> Records:
    """What the database keeps of each row that is not refused, by its model.

    The loop over the records is that of `list.extend`, which keeps what it was given before an error.
    """
    unread = sorted(refused)
    there = without(range(len(columns[0]) if columns else 0), unread)
    values = zip(*(without(column, unread) for column in columns), strict=True)
    building = map(dataset.stored, starmap(dataset.construct, values))
    records: list[Record] = []
    while True:
        with suppress(Exception):  # whatever a model raises is its refusal
            records.extend(building)
        at = len(records) + len(refused) - len(unread)  # among those that could be read
        if at == len(there):
            return Records.of(records)
        refused.add(there[at])


def _draft(dataset: Dataset, line: int, cells: Mapping[str, object], reasons: Sequence[Reason] = ()) -> Draft:
    """All that can be said of a row that is refused: every reason, and every value that could be understood.

    What the model does to a record is done step by step here, to an instance that is thrown away.
    """
    found = list(reasons)
    if not cells and any(reason.code == "row-error" for reason in reasons):
        return Draft(line, tuple(found), {})
    lacking = {reason.field for reason in reasons if reason.code == "missing-cell"}
    instance = dataset.model.__new__(dataset.model)
    for each in dataset.fields:
        if each.column in cells or not each.attribute.init or (each.optional and each.column not in lacking):
            cell = cells.get(each.column)
            is_empty = cell is None or cell == ""
            if fault := _fault(each, bool(found) and each.is_derived, fill, each, instance, cell):
                message = "must have a value" if is_empty and not each.optional else fault
                found.append(Reason("constraint-error" if is_empty else "type-error", each.column, message, cell))

    broken = broken_rules(dataset, instance, cells)
    found += broken
    refused = {reason.field for reason in broken}
    understood: dict[int, object] = {}
    for at, each in _filled(dataset, instance):
        if fault := _fault(each, False, _keep, understood, at, each, instance):
            found.append(Reason("constraint-error", each.column, fault, cells.get(each.column)))
        if each.column in refused:
            understood.pop(at, None)

    if not found:
        try:
            dataset.stored(dataset.construct(*(each.read(cells[each.column]) for each in dataset.loaded)))
            raise ValueError("is refused by its model, though not each time")
        except Exception as error:
            found.append(Reason("constraint-error", None, _message(error)))
    return Draft(line, tuple(found), understood)


def broken_rules(dataset: Dataset, instance: object, cells: Mapping[str, object]) -> list[Reason]:
    """What the model has against an instance, which may lack fields; then it is as the model's hook leaves it."""
    filled = _filled(dataset, instance)
    is_incomplete = len(filled) < len(dataset.fields)
    found = [
        Reason("constraint-error", each.column, fault, cells.get(each.column))
        for _, each in filled
        for value in [getattr(instance, each.attribute.name)]
        for check in each.checks(value)
        if (fault := _fault(each, is_incomplete, check, instance, each.attribute, value))
    ]
    if (hook := getattr(instance, "__attrs_post_init__", None)) and (fault := _fault(None, is_incomplete, hook)):
        found.append(Reason("constraint-error", None, fault))
    return found


def _filled(dataset: Dataset, instance: object) -> list[tuple[int, Field]]:
    """The fields of an instance that have a value by now, with their positions."""
    return [(at, each) for at, each in enumerate(dataset.fields) if hasattr(instance, each.attribute.name)]


def _fault(one: Field | None, is_incomplete: bool, call: Callable[..., object], *arguments: Any) -> str:
    """What a call raises; nothing if that may be because an incomplete instance lacks a field that it looks at."""
    try:
        call(*arguments)
    except Exception as error:
        if not (is_incomplete and isinstance(error, AttributeError)):
            return _message(error, one.attribute.name if one else "")
    return ""


def fill(one: Field, instance: object, cell: object) -> None:
    """Give a field of an instance what the model's own `__init__` would."""
    attribute = one.attribute
    if attribute.init or attribute.default is not NOTHING:
        value = one.read(cell)
        if value is NOTHING:
            value = attribute.default.factory(instance)  # type: ignore[union-attr]
        object.__setattr__(instance, attribute.name, _convert(attribute, instance, value))


def _convert(attribute: "Attribute[Any]", instance: object, value: object) -> object:
    converter = attribute.converter
    if isinstance(converter, Converter):
        return converter.__call__(value, instance, attribute)  # type: ignore[operator]
    return converter(value) if converter else value


def _keep(understood: dict[int, object], at: int, one: Field, instance: object) -> None:
    understood[at] = one.store(getattr(instance, one.attribute.name))


def _message(error: Exception, name: str = "") -> str:
    """What an error says, without the field's name; the error itself would keep the whole block in memory."""
    message = str(error.args[0]) if error.args else type(error).__name__
    message = message.removeprefix(f"'{name}' ")
    return shortened(message)
