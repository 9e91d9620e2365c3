"""The table of a dataset in SQL: how it is made, and whether one that is there already fits."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from loader.core.dataset import Dataset
from loader.core.fields import Field, Group
from loader.core.values import not_blank

Column = tuple[int, str, str, int, object, int]
"""A row of `PRAGMA table_info`: position, name, type, not null, default, place in the primary key."""

UniqueIndex = tuple[tuple[tuple[str | None, str], ...], bool]
"""The columns of an index with their collations, and whether it covers only some of the rows."""


def create_table(dataset: Dataset, schema: str = "") -> str:
    """The statement that makes the table; its constraints demand again what the model demands, where SQL can say it.

    What SQLite keeps of it is the same in any schema, and without one.
    """
    parts = [" ".join(_definition(dataset, each)) for each in dataset.fields]
    for group in dataset.claim_groups:
        if not _is_of_column(dataset, group):
            claim = "PRIMARY KEY" if group is dataset.key_group else "UNIQUE"
            parts.append(f"{claim} ({', '.join(compared(group))})")
    prefix = f"{schema}." if schema else ""
    return f"CREATE TABLE {prefix}{quoted(dataset.table)} ({', '.join(parts)})"


def _is_of_column(dataset: Dataset, group: Group) -> bool:
    """Whether a claim can be told of a column; one of a part of the key may be compared in another way than the key."""
    [one, *others] = group.fields
    return not others and (group is dataset.key_group or one not in dataset.key_group.fields)


def _definition(dataset: Dataset, one: Field) -> Iterator[str]:
    column = quoted(one.name)
    yield f"{column} {one.kind.column}"
    if one.name in dataset.nocase and one not in dataset.key_group.fields:
        yield "COLLATE NOCASE"
    if not one.nullable:
        yield "NOT NULL"
    if one.name == dataset.key:
        yield "PRIMARY KEY"
    elif one.name in dataset.unique and one not in dataset.key_group.fields:
        yield "UNIQUE"
    storages = [*one.kind.stored_as, *(["null"] if one.nullable else [])]
    yield f"CHECK (typeof({column}) IN ({', '.join(map(repr, storages))}))"
    check: Any
    for check in one.checks() if one.attribute.init else ():  # what the model computes is its own affair
        if check is not_blank:
            yield f"CHECK (trim({column}) <> '')"
        elif getattr(check, "compare_op", None) in ("<", "<=", ">", ">=") and _is_number(check.bound):
            yield f"CHECK ({column} {check.compare_op} {check.bound})"


def misfit(
    dataset: Dataset, type_: str, columns: Sequence[Column], unique_indexes: Collection[UniqueIndex]
) -> str | None:
    """What keeps a table that is there from taking the records of a dataset; None if it fits."""
    if type_ != "table":
        return f"it is a {type_}"
    there = {name: (declared, bool(not_null)) for _, name, declared, not_null, _, _ in columns}
    for each in dataset.fields:
        if each.name not in there:
            return f"it has no column {each.name}"
        declared, not_null = there[each.name]
        if _affinity(declared) != each.kind.column:
            return f"its column {each.name} is {declared or 'of no type'}, not {each.kind.column}"
        if not_null and each.nullable:
            return f"its column {each.name} may not be NULL"
    for _, name, _, is_needed, default, _ in columns:
        if name not in dataset.names and is_needed and default is None:
            return f"its column {name} must have a value, and {dataset.name} have none for it"
    key = [name for _, name, _, _, _, in_key in columns if in_key]
    wanted_key = [each.name for each in dataset.key_group.fields]
    if sorted(key) != sorted(wanted_key):
        return f"its primary key is {', '.join(key) or 'missing'}, not {', '.join(wanted_key)}"
    key_index = _index((name, "BINARY") for name in key)
    wanted = {
        _index((each.name, "NOCASE" if each.name in dataset.nocase else "BINARY") for each in group.fields)
        for group in dataset.unique_groups
    }
    there_are = {
        (_index((name, of.upper()) for name, of in held)[0], is_partial) for held, is_partial in unique_indexes
    }
    for index in sorted(wanted ^ there_are - {key_index}, key=str):
        parts = " and ".join(f"{name} ({collation})" for name, collation in index[0])
        return f"{parts} is {'not ' if index in wanted else ''}unique in it"
    return None


def _index(parts: Iterable[tuple[str | None, str]]) -> UniqueIndex:
    """A unique index of all rows; the order of its columns does not matter."""
    return tuple(sorted(parts, key=str)), False


def _is_number(bound: object) -> bool:
    return isinstance(bound, int | float | Decimal) and isfinite(bound)


def _affinity(declared: str) -> str:
    """The affinity of a column, by the rules of https://www.sqlite.org/datatype3.html#determination_of_column_affinity."""
    declared = declared.upper()
    if "INT" in declared:
        return "INTEGER"
    if any(part in declared for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in declared or not declared:
        return "BLOB"
    return "REAL" if any(part in declared for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def listed(group: Group) -> str:
    """The columns of fields that are taken together, as SQL."""
    return ", ".join(quoted(each.name) for each in group.fields)


def compared(group: Group) -> list[str]:
    """Each of them, with how it is compared."""
    fields = zip(group.at, group.fields, strict=True)
    return [quoted(each.name) + (" COLLATE NOCASE" if at in group.nocase else "") for at, each in fields]


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
