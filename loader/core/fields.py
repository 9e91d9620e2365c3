"""The fields of a record: how the cells of one are read and its values stored, and those that are taken together."""

import inspect
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from itertools import chain, islice
from types import NoneType
from typing import Any, get_type_hints

import attrs
from attrs import Attribute, evolve, field, frozen
from attrs.validators import and_, optional

from loader.core.kinds import GALLERY, STR, TEXT, Kind, kind_of
from loader.core.records import Batch, Draft, Record, Records
from loader.core.values import fold

Validator = Callable[[Any, "Attribute[Any]", Any], Any]

_FACTORY: Any = attrs.Factory(list)
_All: Any = type(and_())
_Optional: Any = type(optional(and_()))


@frozen
class Field:
    """A field of a record: its type, whether it may be None, and its column in a source.

    `cell` is the kind that its cells are read as, which is another one where a converter takes something else, and
    `empty` what an empty cell is for it.
    `certain` says that what was read from a cell is what a record has in the end.
    """

    name: str
    column: str
    kind: Kind
    cell: Kind
    nullable: bool
    empty: str | None
    certain: bool
    attribute: "Attribute[Any]"

    @property
    def optional(self) -> bool:
        """Whether a row may leave the field out."""
        return self.nullable or self.attribute.default is not attrs.NOTHING

    @property
    def required(self) -> bool:
        """Whether a cell in which there is nothing cannot be read."""
        return not (self.optional or self.attribute.converter)

    @property
    def is_derived(self) -> bool:
        """Whether its value is made with a look at the instance."""
        return any(getattr(by, "takes_self", False) for by in (self.attribute.default, self.attribute.converter))

    def checks(self, value: object = ...) -> Iterator[Validator]:
        """The validators that a value has to pass, one by one; by default, all that there are."""
        pending = [self.attribute.validator]
        while pending:
            match pending.pop(0):
                case _All(_validators=parts):
                    pending[:0] = parts
                case _Optional(validator=part):
                    pending[:0] = [part] if value is not None else []
                case None:
                    pass
                case one:
                    yield one

    def read(self, cell: object) -> object:
        """The value of a cell; NOTHING if the model is to find it by itself; ValueError with what is wrong."""
        if cell is not None and cell != "":
            return self.cell.read(cell)
        default: Any = self.attribute.default
        if getattr(default, "takes_self", False):
            return attrs.NOTHING
        if default is not attrs.NOTHING:
            return default.factory() if isinstance(default, type(_FACTORY)) else default
        if self.nullable:
            return self.empty
        if self.attribute.converter:
            return None
        raise ValueError("must have a value")

    def read_all(self, cells: Sequence[object]) -> Sequence[object] | None:
        """The values of a column of cells, or None if any of them needs a closer look."""
        if self.cell.in_bulk and (values := self.cell.read_all(cells)) is not None:
            return values
        if "" not in cells and None not in cells:
            return None if self.cell.in_bulk else self.cell.read_all(cells)
        if self.required:
            return None
        present = self.cell.read_all([cell for cell in cells if cell is not None and cell != ""])
        if present is None:
            return None
        others = iter(present)
        try:
            return [self.read(None) if cell is None or cell == "" else next(others) for cell in cells]
        except Exception:  # whatever a model's factory raises
            return None

    def misread(self, cells: Sequence[object]) -> list[int]:
        """The positions of cells that cannot be read, as far as these are soon found: some, if there are any.

        Asked again with "0", which can be read, in their place, it finds others, until there are none.
        """
        found = self.cell.misread(cells)
        if self.required:
            return found or (_empty(cells) if self.cell.in_bulk else [])
        return [at for at in found if cells[at] != ""]

    def store_all(self, values: Sequence[object]) -> Sequence[object] | None:
        """What the database keeps of a column of values, or None if any of them needs a closer look."""
        return values if self.kind.as_is else self._around_none(self.kind.store_all, values)

    def restored(self, stored: Any) -> Any:
        """The value that the database keeps as this; ValueError with what is wrong if it would keep none like that."""
        if stored is not None:
            return self.kind.restored(stored)
        if self.nullable:
            return None
        raise ValueError("must have a value")

    def restore_all(self, stored: Sequence[object]) -> Sequence[object] | None:
        """The values that the database keeps as a column, or None if any of them needs a closer look."""
        return self._around_none(self.kind.restore_all, stored)

    def _around_none(
        self, call: Callable[[Sequence[Any]], Sequence[object] | None], column: Sequence[object]
    ) -> Sequence[object] | None:
        """What a call makes of a column, in which None stays None if the field may be that."""
        if NoneType not in set(map(type, column)):  # to compare each with None takes longer
            return call(column)
        present = call([each for each in column if each is not None]) if self.nullable else None
        if present is None:
            return None
        made = iter(present)
        return [None if each is None else next(made) for each in column]

    def store(self, value: Any) -> object:
        """What the database keeps of a record's value; ValueError if it is not one of the field."""
        if value is not None:
            return self.kind.store(value)
        if self.nullable:
            return None
        raise ValueError("must have a value")


def _empty(cells: Sequence[object]) -> list[int]:
    """The positions of cells in which there is nothing."""
    found: list[int] = []
    with suppress(ValueError):
        while True:
            found.append(cells.index("", found[-1] + 1 if found else 0))
    return found


@frozen
class Group:
    """Fields that are taken together: the key, what is unique, or a reference.

    The value of one field stands for itself, that of several is a tuple; where one is None there is no value, which is
    None again. `nocase` are the fields whose text is compared without regard to the case of ASCII letters.
    """

    at: tuple[int, ...]
    nocase: frozenset[int]
    fields: tuple[Field, ...] = field(eq=False)

    @property
    def name(self) -> str:
        """What reasons call it."""
        return ", ".join(one.column for one in self.fields)

    def of(self, values: Record | Mapping[int, object]) -> Any:
        """The value in a record, or in what was understood of a row."""
        get = values.__getitem__ if isinstance(values, tuple) else values.get
        if len(self.at) == 1:
            return get(self.at[0])
        parts = tuple(map(get, self.at))
        return None if None in parts else parts

    def of_all(self, records: Records) -> Sequence[Any]:
        """The values in records, one for each."""
        if not records:
            return ()
        columns = [records.columns[at] for at in self.at]
        if len(columns) == 1:
            return columns[0]
        values = list(zip(*columns, strict=True))
        if any(one.nullable for one in self.fields):
            return [None if None in value else value for value in values]
        return values

    def present(self, records: Records) -> Sequence[Any]:
        """The values in those records that have one."""
        values = self.of_all(records)
        if not any(one.nullable for one in self.fields):
            return values
        return [value for value in values if value is not None]

    def of_drafts(self, drafts: Iterable[Draft]) -> list[Any]:
        """The values in drafts, as far as they were understood."""
        values = (self.of(draft.values) for draft in drafts)
        return [value for value in values if value is not None]

    def first_line(self, batch: Batch, values: Container[object]) -> int:
        """The line of the first row that has one of these values."""
        records = zip(batch.lines, self.of_all(batch.records), strict=True)
        found = (line for line, value in records if value in values)
        drafts = (draft.line for draft in batch.drafts if self.of(draft.values) in values)
        return min(chain(islice(found, 1), islice(drafts, 1)))

    def folded(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values, so that those are equal that are compared as such."""
        if not self.nocase:
            return values
        if len(self.at) == 1 and None not in values and (text := "".join(values)).isascii():
            return values if text.lower() == text else list(map(str.lower, values))
        return list(map(self.fold, values))

    def fold(self, value: Any) -> Any:
        if not self.nocase or value is None:
            return value
        if len(self.at) == 1:
            return fold(value)
        return tuple(fold(part) if at in self.nocase else part for at, part in zip(self.at, value, strict=True))


def field_of(model: Any, attribute: "Attribute[Any]", hint: Any, column: Callable[[str], str | None]) -> Field:
    """The field that an attribute of a model is; `column` says what it is called in a source, if by another name.

    Raises ValueError with what keeps it from being loaded.
    """
    kind, nullable = kind_of(hint)
    name = attribute.name.lstrip("_")
    if kind is None:
        types = "; ".join(name for name, _, _ in GALLERY)
        raise ValueError(f"{name}: its type cannot be loaded; those that can are {types}")
    cell, takes_none = _taken(attribute, kind)
    is_factory = isinstance(attribute.default, type(_FACTORY))
    one = Field(
        name=name,
        column=column(name) or attribute.alias or name,
        kind=kind,
        cell=cell,
        nullable=nullable,
        empty=None if takes_none else "",
        certain=kind.as_is and attribute.init and not attribute.converter and not is_factory and not has_hook(model),
        attribute=attribute,
    )
    if attribute.default is not attrs.NOTHING and not is_factory and not attribute.converter:
        try:
            one.store(attribute.default)
        except ValueError as error:
            raise ValueError(f"{name}: its default {error}") from None
    return one


def has_hook(model: Any) -> bool:
    """Whether the model may change what was read."""
    hooks = (
        "__attrs_pre_init__",
        "__attrs_init__",
        "__attrs_post_init__",
    )  # the second is there beside an own __init__
    return any(hasattr(model, hook) for hook in hooks)


def _taken(attribute: "Attribute[Any]", kind: Kind) -> tuple[Kind, bool]:
    """What the cells of a field are read as, and whether an empty one is None and not the empty text.

    That is what its converter says that it takes; if it does not say, text or None.

    A converter that is the field's type itself (`int`, `UUID`, `date.fromisoformat`) says no more than the type does.
    """
    converter = attribute.converter
    call: Any = getattr(converter, "converter", converter)
    if call is None:
        return kind, True
    owner = call if isinstance(call, type) else getattr(call, "__self__", None)
    if isinstance(owner, type) and owner.__name__ == kind.name:
        if owner in (int, float, bool, str) or issubclass(owner, Enum) or kind.column == "NUMERIC":
            return kind, True
        return evolve(kind, read=lambda cell: kind.store(kind.read(cell)), in_bulk=None), True
    try:
        first = next(iter(inspect.signature(call).parameters))
        taken, takes_none = kind_of(get_type_hints(call)[first])
    except Exception:  # it does not say
        return TEXT, True
    return taken or TEXT, takes_none or taken is not STR
