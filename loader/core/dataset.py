"""What is declared of a kind of record, and what loader works out from the declaration."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from operator import attrgetter
from typing import Any, get_type_hints

import attrs
from attrs import evolve, field, frozen

from loader.core.columns import Check, column_check
from loader.core.errors import DeclarationError
from loader.core.fields import Field, Group, field_of, has_hook
from loader.core.kinds import INT

Names = str | tuple[str, ...]
"""A field, or several that are taken together."""

_ATTRS = attrs.fields.__code__.co_filename
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MOST_KEY_FIELDS = 127  # SQLITE_MAX_FUNCTION_ARG: SQLite tells of a record that it does not take by its key


def _joined(names: str | Iterable[str]) -> Names:
    """A name, or several that are taken together; a tuple of one says the same as that one."""
    match names if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names):
        case (name,):
            return name
        case joined:
            return joined


def _listed(names: str | Iterable[str | Iterable[str]]) -> tuple[Any, ...]:
    """The names, of which a single one needs no tuple around it."""
    return tuple(map(_joined, names)) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)


def _by_joined(references: Mapping[Any, str]) -> Mapping[Names, str]:
    if not isinstance(references, Mapping):
        return references
    return {_joined(names): name for names, name in references.items()}


@frozen(eq=False)
class Dataset:
    """A declared kind of record.

    `name` is that of the dataset and its files, `model` any attrs class. `key` names the field, or the fields, that
    identify a record. `unique` are the fields, or combinations of fields, whose values a record wants alone; `nocase`
    those among them whose text is compared without regard to the case of ASCII letters. `references` say which fields
    hold a key of which dataset; one of the own dataset must be that of an earlier row.

    `columns` are the columns of fields that go by another name in a source, or a function from each field's name to
    that of its column. `table` is the name of the table, and `database` that of the file it is in; both are the
    dataset's name, if nothing is said.

    Raises DeclarationError, naming class and field, if that cannot be loaded.
    """

    name: str
    model: Any
    key: Names = field(default=(), converter=_joined)
    unique: tuple[Names, ...] = field(default=(), converter=_listed)
    nocase: tuple[str, ...] = field(default=(), converter=_listed)
    references: Mapping[Names, str] = field(factory=dict, converter=_by_joined)
    columns: Mapping[str, str] | Callable[[str], str] = field(factory=dict)
    table: str = field(default=attrs.Factory(lambda self: self.name, takes_self=True))
    database: str = field(default=attrs.Factory(lambda self: self.name, takes_self=True))
    fields: tuple[Field, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for name in (self.name, self.table, self.database):
            if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower().startswith("sqlite_"):
                raise DeclarationError(f"dataset {name!r}: a name is an ASCII letter, then letters, digits and '_'")
        if not isinstance(self.model, type) or not attrs.has(self.model):
            raise DeclarationError(f"dataset {self.name!r}: {self.model!r} is not an attrs class")
        try:
            hints = get_type_hints(self.model)
        except Exception as error:
            raise self._fault(f"has a type that is not there: {error}") from error
        self._look_at_shapes()
        rename = self.columns if callable(self.columns) else self.columns.get
        try:
            fields = tuple(
                field_of(self.model, each, hints.get(each.name, each.type), rename) for each in attrs.fields(self.model)
            )
        except ValueError as error:
            raise self._fault(str(error)) from None
        object.__setattr__(self, "fields", fields)
        self._look_at_names()
        self._look_at_groups()
        if _has_own_init(self.model):
            names = [each.attribute.alias or each.name for each in self.loaded]
            try:
                inspect.signature(self.model.__init__).bind(None, **dict.fromkeys(names))
            except TypeError as error:
                raise self._fault(f"has an __init__ that does not take its fields: {error}") from None

    def _look_at_shapes(self) -> None:
        if not isinstance(self.references, Mapping):
            raise self._fault(f"has references that are no mapping from fields to datasets: {self.references!r}")
        if not callable(self.columns) and not isinstance(self.columns, Mapping):
            raise self._fault(f"has columns that are neither a mapping nor a function: {self.columns!r}")
        for what, roles in (
            ("key", (self.key,) if self.key != () else ()),
            ("unique", self.unique),
            ("nocase", self.nocase),
            ("references", tuple(self.references)),
        ):
            for names in roles:
                parts = (names,) if isinstance(names, str) else names
                is_sound = isinstance(parts, tuple) and all(isinstance(name, str) and name for name in parts)
                if not is_sound or not parts or len(set(parts)) < len(parts):
                    raise self._fault(f"{what}: a field, or several different ones in a tuple, not {names!r}")

    def _look_at_names(self) -> None:
        renamed = () if callable(self.columns) else tuple(self.columns)
        for role in (*self.unique, self.nocase, *self.references, renamed, self.key):
            for name in _names(role):
                if name not in self.names:
                    raise self._fault(f"has no field {name!r}")
        for names, what in ((tuple(map(str.lower, self.names)), "fields"), (self.header, "columns")):
            if twice := [name for name in names if names.count(name) > 1]:
                raise self._fault(f"{twice[0]}: two {what} have that name")
        for one in self.loaded:
            if not isinstance(one.column, str):
                raise self._fault(f"{one.name}: the name of its column is no text: {one.column!r}")
            if one.column.startswith("_"):
                raise self._fault(
                    f"{one.name}: columns that begin with '_' are loader's own, as {one.column!r} would be"
                )

    def _look_at_groups(self) -> None:
        if not self.key:
            raise self._fault(
                "has no key: it tells a record that is stored already from a new one, and is what others refer to; "
                'name one, as key="id" or key=("order_id", "line")'
            )
        if len(self.key_group.fields) > _MOST_KEY_FIELDS:
            raise self._fault(f"has a key of {len(self.key_group.fields)} fields: it may have {_MOST_KEY_FIELDS}")
        for one in self.key_group.fields:
            if one.optional or not one.attribute.init:
                raise self._fault(f"{one.name}: each record brings a key of its own")
        keys = [set(_names(self.key))]
        for names in self.unique:
            if set(_names(names)) in keys:
                raise self._fault(f"{', '.join(_names(names))}: is unique already, without being named so again")
            keys.append(set(_names(names)))
        in_groups = {name for names in self.unique for name in _names(names)}
        for name in self.nocase:
            if name not in in_groups or self.fields[self.names.index(name)].kind.column != "TEXT":
                raise self._fault(f"{name}: only text that is unique can be compared without regard to case")

    def _fault(self, text: str) -> DeclarationError:
        return DeclarationError(f"dataset {self.name!r}: class {self.model.__name__} {text}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the declaration only: validators may be closures, and are found again through the model."""
        return Dataset, tuple(getattr(self, each.name) for each in attrs.fields(Dataset) if each.init)

    def _group(self, names: Names) -> Group:
        at = tuple(self.names.index(name) for name in _names(names))
        nocase = frozenset(self.names.index(name) for name in self.nocase)
        return Group(at, nocase & set(at), tuple(self.fields[each] for each in at))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.fields)

    @cached_property
    def loaded(self) -> tuple[Field, ...]:
        """The fields that come from a source; the others are the model's own affair."""
        return tuple(each for each in self.fields if each.attribute.init)

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The columns of a source that the loaded fields come from."""
        return tuple(each.column for each in self.loaded)

    @cached_property
    def numeric(self) -> bool:
        """Whether all that comes from a source is integers."""
        return all(each.cell is INT for each in self.loaded)

    @cached_property
    def key_group(self) -> Group:
        return evolve(self._group(self.key), nocase=frozenset())

    @cached_property
    def unique_groups(self) -> tuple[Group, ...]:
        return tuple(map(self._group, self.unique))

    @cached_property
    def claim_groups(self) -> tuple[Group, ...]:
        """What a record wants alone."""
        return self.key_group, *self.unique_groups

    @cached_property
    def reference_groups(self) -> Mapping[Group, str]:
        return {evolve(self._group(names), nocase=frozenset()): name for names, name in self.references.items()}

    @cached_property
    def construct(self) -> Callable[..., Any]:
        """A function from the values of the loaded fields to an instance of the model."""
        attributes = [each.attribute for each in self.loaded]
        model: Callable[..., Any] = self.model
        by_name = _has_own_init(model) or any(each.kw_only for each in attributes)
        if not by_name and not any(getattr(each.default, "takes_self", False) for each in attributes):
            return model
        names = [each.alias or each.name for each in attributes]

        def construct(*values: object) -> Any:
            given = zip(names, values, strict=True)
            return model(**{name: value for name, value in given if value is not attrs.NOTHING})

        return construct

    @cached_property
    def stored(self) -> Callable[[Any], tuple[object, ...]]:
        """A function from an instance of the model to what the database keeps of it."""
        get: Any = attrgetter(*(each.attribute.name for each in self.fields))
        values = get if len(self.fields) > 1 else lambda instance: (get(instance),)
        stores = [None if each.certain else each.store for each in self.fields]
        if not any(stores):
            return values
        pairs = tuple(stores)
        return lambda instance: tuple(
            [store(value) if store else value for store, value in zip(pairs, values(instance), strict=True)]
        )

    @cached_property
    def checks(self) -> tuple[Check, ...] | None:
        """A check of each field, by which a record is beyond doubt; None if only the model can tell."""
        checks = [column_check(each.attribute.validator) for each in self.fields]
        if None in checks or any(each.attribute.converter or not each.attribute.init for each in self.fields):
            return None
        if any(each.is_derived or (each.kind.as_is and not each.certain) for each in self.fields):
            return None
        if has_hook(self.model) or not _is_made_by_attrs(self.model):
            return None
        return tuple(check for check in checks if check)

    @cached_property
    def held(self) -> "Dataset":
        """What instances hold: fields of the same types and with the same validators, without the model's hooks.

        Other members of the model are there, as a validator may look at them.
        An empty text, which is no value elsewhere, is one of a field of text that must have a value.
        """
        hints = get_type_hints(self.model)
        parts = {}
        for each in self.fields:
            is_text = each.kind.name == "str" and not each.nullable and each not in self.key_group.fields
            type_ = hints.get(each.attribute.name, each.attribute.type)
            default = "" if is_text else attrs.NOTHING
            parts[each.attribute.name] = field(
                type=type_, validator=each.attribute.validator, default=default, kw_only=True
            )
        static = {name: inspect.getattr_static(self.model, name) for name in dir(self.model) if name[:2] != "__"}
        body = {name: each for name, each in static.items() if not inspect.ismemberdescriptor(each)}
        model = attrs.make_class(self.model.__name__, parts, class_body=body)
        return evolve(self, model=model, columns={each.name: each.column for each in self.fields})

    @property
    def singular(self) -> str:
        """What one record is called."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.model.__name__).lower()


def _names(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _is_of_attrs(method: Any) -> bool:
    code = getattr(method, "__code__", None)
    return code is not None and (code.co_filename.startswith("<attrs generated") or code.co_filename == _ATTRS)


def _has_own_init(model: Any) -> bool:
    return not _is_of_attrs(model.__init__)


def _is_made_by_attrs(model: Any) -> bool:
    """Whether nothing but what attrs has written happens when an instance is made, and looked at."""
    plain = all(getattr(model, name) is getattr(object, name) for name in ("__new__", "__getattribute__"))
    sets = model.__setattr__ is object.__setattr__ or _is_of_attrs(model.__setattr__)
    return plain and sets and type(model).__call__ is type.__call__ and not _has_own_init(model)


def in_reference_order(datasets: Iterable[Dataset]) -> list[Dataset]:
    """The datasets, each behind those that it refers to; else in the order given.

    Raises DeclarationError for two of one name or table, a reference to a dataset that is not there, or whose key is
    of another type, and references in a circle.
    """
    known: dict[str, Dataset] = {}
    tables: dict[tuple[str, str], Dataset] = {}
    for dataset in datasets:
        if dataset.name in known:
            raise DeclarationError(f"two datasets are named {dataset.name!r}")
        place = (dataset.database, dataset.table.lower())
        if place in tables:
            both = f"datasets {tables[place].name!r} and {dataset.name!r}"
            raise DeclarationError(f"{both} have the same table {dataset.table!r} in {dataset.database!r}")
        known[dataset.name] = tables[place] = dataset
    for dataset in known.values():
        for group, upstream in dataset.reference_groups.items():
            if upstream not in known:
                raise DeclarationError(
                    f"dataset {dataset.name!r}: {group.name} refers to dataset {upstream!r}, which is not there"
                )
            _look_at_reference(dataset, group, known[upstream])
    try:
        graph = {name: dict.fromkeys(one.references.values()) for name, one in known.items()}
        for name, upstreams in graph.items():
            upstreams.pop(name, None)
        order = TopologicalSorter(graph).static_order()
        return [known[name] for name in order]
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise DeclarationError(f"datasets refer to each other in a circle: {circle}") from None


def _look_at_reference(dataset: Dataset, group: Group, upstream: Dataset) -> None:
    here = [one.kind.name for one in group.fields]
    there = [one.kind.name for one in upstream.key_group.fields]
    if here != there:
        raise DeclarationError(
            f"dataset {dataset.name!r}: class {dataset.model.__name__} {group.name}: is of type {', '.join(here)}, and "
            f"the key of {upstream.name!r} that it refers to, {upstream.key_group.name}, of type {', '.join(there)}"
        )
