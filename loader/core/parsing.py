"""From a block to a batch: the model's verdict on each row, without a look at any other record.

`parse` is pure and picklable. It reads column by column where every cell is plain, builds each record with its attrs
class, and goes through a row field by field only where something is wrong, to name all that is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import starmap
from operator import attrgetter
from typing import Any

from attrs import Attribute, Converter

from loader.core.dataset import Dataset, Field
from loader.core.records import Batch, Block, Code, Draft, Reader, Reason

_LONGEST_MESSAGE = 300
_CELLS_AT_ONCE = 64  # of which at most one is likely to be a fault


def parse(dataset: Dataset, reader: Reader, block: Block) -> Batch:
    """The records of a block, and drafts of the rows that do not fit or that the model refuses."""
    rows = reader.rows(block)
    suspects: set[int] = set()
    cells_of = zip(*rows.cells, strict=True)
    columns = [_read_column(each, cells, suspects) for each, cells in zip(dataset.fields, cells_of, strict=False)]
    readable = [at for at in range(len(rows.cells)) if at not in suspects]
    values = list(zip(*columns, strict=True))
    records, refused = _build(dataset, [values[at] for at in readable] if suspects else values)
    suspects.update(readable[at] for at in refused)
    lines = [line for at, line in enumerate(rows.lines) if at not in suspects] if suspects else rows.lines
    drafts = [_draft(dataset, each.line, each.cells, each.reasons) for each in rows.misfits]
    drafts += [
        _draft(dataset, rows.lines[at], dict(zip(dataset.names, rows.cells[at], strict=True))) for at in suspects
    ]
    return Batch(records, lines, sorted(drafts, key=attrgetter("line")), rows.origins)


def _read_column(one: Field, cells: Sequence[object], suspects: set[int]) -> Sequence[object]:
    """The values of a column: all at once if all are plain, else by and by, to find the suspects."""
    values = one.kind.read_all(cells)
    if values is not None:
        return values
    values = []
    for start in range(0, len(cells), _CELLS_AT_ONCE):
        some = cells[start : start + _CELLS_AT_ONCE]
        plain = one.kind.read_all(some)
        values += plain if plain is not None else _read_each(one, some, start, suspects)
    return values


def _read_each(one: Field, cells: Sequence[object], start: int, suspects: set[int]) -> Iterator[object]:
    for at, cell in enumerate(cells, start):
        try:
            yield _read(one, cell)
        except ValueError:
            suspects.add(at)
            yield None


def _build(dataset: Dataset, values: Sequence[tuple[object, ...]]) -> tuple[list[tuple[object, ...]], list[int]]:
    """What the database keeps of the records that the model accepts, and the positions of those that it refuses.

    The loop over the records is that of `list.extend`, which keeps what it was given before an error.
    """
    records: list[tuple[object, ...]] = []
    refused: list[int] = []
    building = map(_stored(dataset), starmap(dataset.model, values))
    while True:
        with suppress(Exception):  # whatever a model raises is its refusal
            records.extend(building)
        if len(records) + len(refused) == len(values):
            return records, refused
        refused.append(len(records) + len(refused))


def _read(one: Field, cell: object) -> object:
    return one.absent() if cell is None or cell == "" else one.kind.read(cell)


def _stored(dataset: Dataset) -> Callable[[Any], tuple[object, ...]]:
    """A function from an instance to what the database keeps of it."""
    values = dataset.values
    stores = [each.kind.store for each in dataset.fields]
    if not any(stores):
        return values  # type: ignore[no-any-return]

    def stored(instance: Any) -> tuple[object, ...]:
        return tuple(
            value if store is None or value is None else store(value)
            for store, value in zip(stores, values(instance), strict=True)
        )

    return stored


def _draft(dataset: Dataset, line: int, cells: Mapping[str, object], reasons: Sequence[Reason] = ()) -> Draft:
    """All that can be said of a row that is refused: every reason, and every value that could be understood."""
    found = list(reasons)
    instance = dataset.model.__new__(dataset.model)
    read: dict[str, object] = {}
    for each in dataset.fields:
        if each.name in cells:
            cell = cells[each.name]
            try:
                read[each.name] = _convert(each.attribute, instance, _read(each, cell))
                object.__setattr__(instance, each.name, read[each.name])
            except AttributeError:
                pass  # its converter looks at a field that could not be read
            except Exception as error:
                code: Code = "constraint-error" if cell is None or cell == "" else "type-error"
                found.append(Reason(code, each.name, _message(error, each.name), cell))

    understood: dict[int, object] = {}
    for at, each in enumerate(dataset.fields):
        if each.name in read:
            faults, value = _validate(each, instance, read[each.name])
            found += [Reason("constraint-error", each.name, fault, cells[each.name]) for fault in faults]
            if not faults:
                understood[at] = value

    if not found:
        try:
            _stored(dataset)(dataset.model(*(_read(each, cells[each.name]) for each in dataset.fields)))
            raise ValueError("is refused by its model, though not each time")
        except Exception as error:
            found.append(Reason("constraint-error", None, _message(error)))
    return Draft(line, tuple(found), understood)


def _convert(attribute: "Attribute[Any]", instance: object, value: object) -> object:
    converter = attribute.converter
    if isinstance(converter, Converter):
        return converter.__call__(value, instance, attribute)  # type: ignore[operator]
    return converter(value) if converter else value


def _validate(one: Field, instance: object, value: Any) -> tuple[list[str], object]:
    """What the validators of a field, and its column, have against a value; and the value as the column keeps it."""
    faults: list[str] = []
    for check in one.checks(value):
        try:
            check(instance, one.attribute, value)
        except AttributeError:
            pass  # it looks at a field that could not be read
        except Exception as error:
            faults.append(_message(error, one.name))
    if one.kind.store and value is not None:
        try:
            value = one.kind.store(value)
        except Exception as error:
            faults.append(_message(error, one.name))
    return faults, value


def _message(error: Exception, name: str = "") -> str:
    """What an error says, without the field's name; the error itself would keep the whole block in memory."""
    message = str(error.args[0]) if error.args else type(error).__name__
    message = message.removeprefix(f"'{name}' ")
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
