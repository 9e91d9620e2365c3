"""What a load must come to: a plain serial loop over dictionaries, one dataset after the other, row after row.

Nothing of loader is used here; the rules are written anew, as simply as can be, to be the judge of it. What is loaded
is told by specifications, of which those of the sample are three.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

Place = tuple[str, int]
"""The name of a file, and the line at which a row begins (in a JSON array, the number of the row)."""

Table = dict[Any, dict[str, Any]]
"""The records of a dataset by key, each by field."""


class Row(NamedTuple):
    """A row: its cells as text, None if it cannot be read; `extra` has what the reasons for surplus cells name.

    `omitted` are the columns that it may leave out, if its dataset does not need them.
    """

    place: Place
    cells: Mapping[str, str] | None
    extra: tuple[str | None, ...] = ()
    omitted: frozenset[str] = frozenset()


class Cause(NamedTuple):
    """The rejection upstream that left a reference with nothing to refer to."""

    dataset: str
    key: object
    place: Place


class Reason(NamedTuple):
    """A reason as far as it can be foretold: all but its words."""

    code: str
    field: str | None
    holder: object = None
    cause: Cause | None = None


Rejections = list[tuple[Place, list[Reason]]]


@dataclass
class Outcome:
    """What becomes of a dataset; the reasons of a rejection are sorted, the rejections are in the order of the rows."""

    records: Table
    status: str = "not loaded"
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    untried: int = 0
    rejections: Rejections = field(default_factory=list)


# The values, section by section: a type takes a text and gives a value or None; a rule says whether a value is allowed.


def integer(text: str) -> int | None:
    if not re.fullmatch("-?(0|[1-9][0-9]*)", text):
        return None
    return int(text) if -(2**63) <= int(text) < 2**63 else None


def decimal(text: str) -> Decimal | None:
    return Decimal(text) if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text) else None


def plain_text(text: str) -> str | None:
    bad = any(unicodedata.category(one) in ("Cc", "Cs") and one not in "\t\n\r" for one in text)
    return None if bad else text


def number(text: str) -> float | None:
    if not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", text):
        return None
    return float(text) if abs(float(text)) != float("inf") else None


def boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


def moment(kind: type, form: str, pattern: str) -> Callable[[str], Any]:
    """How a date, a time or both are read: a pattern says which digits, a form of `strptime` what they mean."""

    def read(text: str) -> Any:
        if not re.fullmatch(pattern, text, re.ASCII):
            return None
        fraction = ".%f" if "." in text else ""
        zone = "%z" if re.search(r"(Z|[-+]\d\d:\d\d)$", text) and "T" in text else ""
        try:
            found = datetime.strptime(text, form + fraction + zone)
        except ValueError:
            return None
        return found if kind is datetime else found.date() if kind is date else found.time()

    return read


_TIME = r"\d\d:\d\d:\d\d(\.\d{1,6})?"
day = moment(date, "%Y-%m-%d", r"\d{4}-\d\d-\d\d")
clock = moment(time, "%H:%M:%S", _TIME)
instant = moment(datetime, "%Y-%m-%dT%H:%M:%S", rf"\d{{4}}-\d\d-\d\dT{_TIME}(Z|[-+]\d\d:\d\d)?")


def uuid(text: str) -> UUID | None:
    parts = text.split("-")
    is_one = [len(part) for part in parts] == [8, 4, 4, 4, 12] and not set(text) - set("-0123456789abcdefABCDEF")
    return UUID(text) if is_one else None


def first_of(*reads: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: next((value for read in reads if (value := read(text)) is not None), None)


def json_of(kind: type, part: type = object) -> Callable[[str], Any]:
    """How a list or dict is read that holds nothing but parts of a type."""

    def read(text: str) -> Any:
        try:
            found = json.loads(text)
        except ValueError:
            return None
        parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else []
        return found if type(found) is kind and all(isinstance(each, part) for each in parts) else None

    return read


def json_text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def positive(value: Any) -> bool:
    return bool(value > 0)


def not_blank(value: str) -> bool:
    return value.strip() != ""


def two_places(value: Decimal) -> bool:
    return value * 100 == int(value * 100)


def fifteen_digits(value: Decimal) -> bool:
    whole, _, places = f"{abs(value):f}".partition(".")
    return len(whole.lstrip("0")) + len(places.rstrip("0")) <= 15


def email(value: str) -> bool:
    local, at, domain = value.partition("@")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

    def is_label(label: str) -> bool:
        inside = all(one in letters + "-" for one in label)
        return 1 <= len(label) <= 63 and inside and label[0] != "-" and label[-1] != "-"

    local_is_good = all(one in letters + ".!#$%&'*+/=?^_`{|}~-" for one in local) and all(local.split("."))
    return bool(at) and local_is_good and all(is_label(label) for label in domain.split("."))


def as_it_is(value: Any) -> Any:
    return value


class Field(NamedTuple):
    """A field: how a text is read, what is allowed, and what a database keeps of it; the default is a text too."""

    name: str
    read: Callable[[str], Any]
    rules: tuple[Callable[[Any], bool], ...] = ()
    stored: Callable[[Any], Any] = as_it_is
    column: str = ""
    nullable: bool = False
    default: str = ""

    @property
    def header(self) -> str:
        return self.column or self.name

    @property
    def optional(self) -> bool:
        return self.nullable or bool(self.default)


Names = tuple[str, ...]


class Spec(NamedTuple):
    """A dataset; `ordered` are two fields of which the first may not be greater than the second."""

    name: str
    fields: tuple[Field, ...]
    key: Names = ("id",)
    unique: tuple[Names, ...] = ()
    nocase: Names = ()
    references: Mapping[Names, str] = {}
    ordered: Names = ()
    table: str = ""
    database: str = ""

    def names(self, group: Names) -> str:
        """What reasons call some fields."""
        return ", ".join(one.header for name in group for one in self.fields if one.name == name)

    def folded(self, name: str, value: Any) -> Any:
        capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        if name in self.nocase and isinstance(value, str):
            return "".join(one.lower() if one in capitals else one for one in value)
        return value


SAMPLE = (
    Spec(
        "users",
        (
            Field("id", integer, (positive,)),
            Field("name", plain_text, (not_blank,)),
            Field("email", plain_text, (email,)),
        ),
        unique=(("email",),),
        nocase=("email",),
    ),
    Spec(
        "products",
        (
            Field("id", integer, (positive,)),
            Field("name", plain_text, (not_blank,)),
            Field("price", decimal, (positive, two_places, fifteen_digits), float),
        ),
        unique=(("name",),),
    ),
    Spec(
        "orders",
        (
            Field("id", integer, (positive,)),
            Field("user_id", integer),
            Field("product_id", integer),
            Field("quantity", integer, (positive,)),
        ),
        references={("user_id",): "users", ("product_id",): "products"},
    ),
)


def understand(spec: Spec, row: Row) -> tuple[dict[str, Any], list[Reason]]:
    """What would be stored of a row as far as it is sound, and what is wrong with the row by itself."""
    if row.cells is None:
        return {}, [Reason("row-error", None)]
    read: dict[str, Any] = {}
    values: dict[str, Any] = {}
    reasons = [Reason("extra-cell", what) for what in row.extra]
    for one in spec.fields:
        column = one.header
        if column not in row.cells and not (column in row.omitted and one.optional):
            reasons.append(Reason("missing-cell", column))
            continue
        text = row.cells.get(column, "") or one.default
        if text == "" and one.nullable:
            values[one.name] = None
        elif text == "":
            reasons.append(Reason("constraint-error", column))
        elif (value := one.read(text)) is None:
            reasons.append(Reason("type-error", column))
        else:
            read[one.name] = value
            broken = [rule for rule in one.rules if not rule(value)]
            reasons += [Reason("constraint-error", column) for _ in broken]
            if not broken:
                values[one.name] = one.stored(value)
    if spec.ordered and all(name in read for name in spec.ordered):
        first, second = spec.ordered
        if read[first] > read[second]:
            reasons.append(Reason("constraint-error", None))
    return values, reasons


def value_of(values: Mapping[str, Any], group: Names) -> Any:
    """The value of some fields: a tuple, if they are several; None, if not all of them have one."""
    parts = tuple(values.get(name) for name in group)
    return None if None in parts else parts[0] if len(parts) == 1 else parts


def load(
    files: Mapping[str, Sequence[Row]],
    stored: Mapping[str, Table],
    *,
    specs: Sequence[Spec] = SAMPLE,
    update: bool = False,
    max_rejects: int | None = None,
    max_percent: float | None = None,
    fails_after: Mapping[str, int] | None = None,
) -> dict[str, Outcome]:
    """What becomes of the rows of each file, and what the databases hold afterwards if they held `stored` before.

    `specs` come in the order of their references. A dataset without a file is not loaded, only referred to.
    `fails_after` says of a dataset that fails how many of its rows are brought to their end before.
    """
    done: dict[str, Outcome] = {}
    rejected_at: dict[tuple[str, object], Place] = {}
    for spec in specs:
        name = spec.name
        table = dict(stored.get(name, {}))
        outcome = done[name] = Outcome(table)
        if name not in files:
            continue
        outcome.status = "complete"
        outcome.read = len(files[name])
        ours: set[object] = set()  # the keys that this run has stored, or found stored as they should be
        rows = [(row, *understand(spec, row)) for row in files[name]]
        in_file = {value_of(values, spec.key) for _, values, _ in rows}
        for number, (row, values, reasons) in enumerate(rows):
            if number == (fails_after or {}).get(name):
                outcome.status = "failed"
            key = value_of(values, spec.key)
            is_stored = not reasons and table.get(key) == values
            missing = {}
            for group, upstream in spec.references.items():
                value = value_of(values, group)
                is_there = value in done[upstream].records
                if upstream == name:
                    is_there = is_stored or value in ours or (is_there and value not in in_file)
                if value is not None and not is_there:
                    missing[group] = upstream
            if any(done[one].status not in ("complete", "not loaded") for one in missing.values() if one != name):
                outcome.status = "stopped" if outcome.status == "complete" else outcome.status
            if outcome.status != "complete":
                outcome.untried += 1
                continue
            for group, upstream in missing.items():
                value = value_of(values, group)
                place = rejected_at.get((upstream, value))
                cause = Cause(upstream, value, place) if place else None
                reasons.append(Reason("foreign-key", spec.names(group), None, cause))

            if not reasons and is_stored:
                outcome.unchanged += 1
                ours.add(key)
                continue
            contests = []
            if key in table and not (update and key not in ours):
                contests.append(Reason("primary-key", spec.names(spec.key), key))
            for group in spec.unique:
                wanted = [spec.folded(one, values.get(one)) for one in group]
                for other, record in table.items():
                    held = [spec.folded(one, record[one]) for one in group]
                    if None not in wanted and other != key and held == wanted:
                        contests.append(Reason("unique-error", spec.names(group), other))
            if reasons or any(contest.holder in ours for contest in contests):
                contests = [contest for contest in contests if contest.holder in ours]
            reasons += contests
            if reasons:
                outcome.rejected += 1
                outcome.rejections.append((row.place, sorted(reasons, key=str)))
                if key is not None:
                    rejected_at.setdefault((name, key), row.place)
                if max_rejects is not None and outcome.rejected > max_rejects:
                    outcome.status = "failed"
            else:
                if key in table:
                    outcome.updated += 1
                else:
                    outcome.inserted += 1
                table[key] = values
                ours.add(key)
        too_many = max_percent is not None and outcome.rejected * 100 > max_percent * outcome.read
        if outcome.status == "complete" and (too_many or name in (fails_after or {})):
            outcome.status = "failed"
    return done
