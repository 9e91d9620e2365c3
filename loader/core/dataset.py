"""What is declared of a kind of record, and what loader works out from the declaration."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import Attribute, field, frozen
from attrs.validators import and_, optional

from loader.core.errors import DeclarationError
from loader.core.values import KINDS, Kind

Validator = Callable[[Any, "Attribute[Any]", Any], Any]

_All: Any = type(and_())
_Optional: Any = type(optional(and_()))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@frozen
class Field:
    """A field of a record: its type, and whether it must have a value."""

    name: str
    kind: Kind
    nullable: bool
    attribute: "Attribute[Any]"

    @property
    def optional(self) -> bool:
        """Whether a row may leave the field out."""
        return self.nullable or self.attribute.default is not attrs.NOTHING

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

    def absent(self) -> object:
        """What a row gets that has no value here: the default, else None; ValueError if it must have one."""
        default = self.attribute.default
        if default is attrs.NOTHING:
            if self.nullable:
                return None
            raise ValueError("must have a value")
        factory = getattr(default, "factory", None)
        return factory() if factory else default


@frozen(eq=False)
class Dataset:
    """A declared kind of record.

    `name` is that of the dataset, its files and its table. `model` is any attrs class. `key` names the field that
    identifies a record, `unique` those whose value a record wants alone, `nocase` those of the unique ones whose text
    is compared without regard to the case of ASCII letters, and `references` those that hold a key of another dataset.

    Raises DeclarationError, naming class and field, if that cannot be loaded.
    """

    name: str
    model: Any
    key: str
    unique: tuple[str, ...] = ()
    nocase: tuple[str, ...] = ()
    references: Mapping[str, str] = field(factory=dict)
    fields: tuple[Field, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(f"dataset {self.name!r}: a name is an ASCII letter, then letters, digits and '_'")
        if not attrs.has(self.model):
            raise DeclarationError(f"dataset {self.name!r}: {self.model!r} is not an attrs class")
        try:
            hints = get_type_hints(self.model)
        except NameError as error:
            raise self._fault(f"has a type that is not there: {error}") from error
        object.__setattr__(self, "fields", tuple(self._field(a, hints) for a in attrs.fields(self.model)))
        for role in ((self.key,), self.unique, self.nocase, self.references):
            for name in role:
                if name not in self.names:
                    raise self._fault(f"has no field {name!r}")
        if self.fields[self.key_at].optional:
            raise self._fault(f"{self.key}: each record brings a key of its own")
        if self.key in self.unique:
            raise self._fault(f"{self.key}: a key is unique without being named so")
        for name in self.nocase:
            if name not in self.unique or self.fields[self.names.index(name)].kind.type is not str:
                raise self._fault(f"{name}: only text that is unique can be compared without regard to case")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the declaration only: validators may be closures, and are found again through the model."""
        return Dataset, (self.name, self.model, self.key, self.unique, self.nocase, self.references)

    def _field(self, attribute: "Attribute[Any]", hints: Mapping[str, Any]) -> Field:
        kind, nullable = _kind_of(hints.get(attribute.name))
        if kind is None:
            names = ", ".join(sorted(known.__name__ for known in KINDS))
            raise self._fault(f"{attribute.name}: a field's type is one of {names}, or one of them | None")
        if not attribute.init or attribute.kw_only or attribute.name.startswith("_"):
            raise self._fault(f"{attribute.name}: a field is a positional argument whose name begins with a letter")
        if getattr(attribute.default, "takes_self", False):
            raise self._fault(f"{attribute.name}: a default that depends on other fields cannot be loaded")
        return Field(attribute.name, kind, nullable, attribute)

    def _fault(self, text: str) -> DeclarationError:
        return DeclarationError(f"dataset {self.name!r}: class {self.model.__name__} {text}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.fields)

    @cached_property
    def key_at(self) -> int:
        return self.names.index(self.key)

    @cached_property
    def unique_at(self) -> tuple[int, ...]:
        return tuple(self.names.index(name) for name in self.unique)

    @cached_property
    def references_at(self) -> Mapping[int, str]:
        return {self.names.index(name): upstream for name, upstream in self.references.items()}

    @cached_property
    def values(self) -> Any:
        """A function from an instance of the model to the tuple of its values."""
        get = attrgetter(*self.names)
        return get if len(self.names) > 1 else lambda instance: (get(instance),)

    @property
    def singular(self) -> str:
        """What one record is called."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.model.__name__).lower()


def _kind_of(hint: Any) -> tuple[Kind | None, bool]:
    if get_origin(hint) in (Union, UnionType):
        given = [one for one in get_args(hint) if one is not NoneType]
        return (KINDS.get(given[0]) if len(given) == 1 else None), len(given) < len(get_args(hint))
    return KINDS.get(hint), False


def in_reference_order(datasets: Iterable[Dataset]) -> list[Dataset]:
    """The datasets, each behind those that it refers to; else in the order given.

    Raises DeclarationError for two of one name, a reference to a dataset that is not there, and references in a circle.
    """
    known: dict[str, Dataset] = {}
    for dataset in datasets:
        if dataset.name in known:
            raise DeclarationError(f"two datasets are named {dataset.name!r}")
        known[dataset.name] = dataset
    for dataset in known.values():
        for name, upstream in dataset.references.items():
            if upstream not in known:
                raise DeclarationError(
                    f"dataset {dataset.name!r}: {name} refers to dataset {upstream!r}, which is not there"
                )
    try:
        graph = {name: dict.fromkeys(one.references.values()) for name, one in known.items()}
        order = TopologicalSorter(graph).static_order()
        return [known[name] for name in order]
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise DeclarationError(f"datasets refer to each other in a circle: {circle}") from None
