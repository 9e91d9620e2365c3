"""What a load must come to: a plain serial loop over dictionaries, one dataset after the other, row after row.

Nothing of loader is used here; the rules are written anew, as simply as can be, to be the judge of it.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

Place = tuple[str, int]
"""The name of a file, and the line at which a row begins (in a JSON array, the number of the row)."""

Table = dict[Any, dict[str, Any]]
"""The records of a dataset by key, each by field."""


class Row(NamedTuple):
    """A row: its cells as text, None if it cannot be read; `extra` has what the reasons for surplus cells name."""

    place: Place
    cells: Mapping[str, str] | None
    extra: tuple[str | None, ...] = ()


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


Rules = tuple[Callable[[str], Any], tuple[Callable[[Any], bool], ...]]

FIELDS: dict[str, dict[str, Rules]] = {
    "users": {
        "id": (integer, (positive,)),
        "name": (plain_text, (not_blank,)),
        "email": (plain_text, (email,)),
    },
    "products": {
        "id": (integer, (positive,)),
        "name": (plain_text, (not_blank,)),
        "price": (decimal, (positive, two_places, fifteen_digits)),
    },
    "orders": {
        "id": (integer, (positive,)),
        "user_id": (integer, ()),
        "product_id": (integer, ()),
        "quantity": (integer, (positive,)),
    },
}
UNIQUE: dict[str, dict[str, Callable[[str], str]]] = {"users": {"email": str.lower}, "products": {"name": str}}
REFERENCES = {"orders": {"user_id": "users", "product_id": "products"}}


def understand(name: str, row: Row) -> tuple[dict[str, Any], list[Reason]]:
    """The values of a row as far as they are sound, and what is wrong with the row by itself."""
    if row.cells is None:
        return {}, [Reason("row-error", None)]
    values: dict[str, Any] = {}
    reasons = [Reason("extra-cell", what) for what in row.extra]
    for column, (read, rules) in FIELDS[name].items():
        if column not in row.cells:
            reasons.append(Reason("missing-cell", column))
        elif row.cells[column] == "":
            reasons.append(Reason("constraint-error", column))
        elif (value := read(row.cells[column])) is None:
            reasons.append(Reason("type-error", column))
        elif broken := [rule for rule in rules if not rule(value)]:
            reasons += [Reason("constraint-error", column) for _ in broken]
        else:
            values[column] = value
    return values, reasons


def load(
    files: Mapping[str, Sequence[Row]],
    stored: Mapping[str, Table],
    *,
    update: bool = False,
    max_rejects: int | None = None,
    max_percent: float | None = None,
    fails_after: Mapping[str, int] | None = None,
) -> dict[str, Outcome]:
    """What becomes of the rows of each file, and what the databases hold afterwards if they held `stored` before.

    A dataset without a file is not loaded, only referred to. `fails_after` says of a dataset that fails how many of its
    rows are brought to their end before.
    """
    done: dict[str, Outcome] = {}
    rejected_at: dict[tuple[str, object], Place] = {}
    for name in ("users", "products", "orders"):
        table = dict(stored.get(name, {}))
        outcome = done[name] = Outcome(table)
        if name not in files:
            continue
        outcome.status = "complete"
        outcome.read = len(files[name])
        ours: set[object] = set()  # the keys that this run has stored, or found stored as they should be
        for number, row in enumerate(files[name]):
            if number == (fails_after or {}).get(name):
                outcome.status = "failed"
            values, reasons = understand(name, row)
            missing = {
                column: upstream
                for column, upstream in REFERENCES.get(name, {}).items()
                if column in values and values[column] not in done[upstream].records
            }
            if any(done[upstream].status not in ("complete", "not loaded") for upstream in missing.values()):
                outcome.status = "stopped" if outcome.status == "complete" else outcome.status
            if outcome.status != "complete":
                outcome.untried += 1
                continue
            for column, upstream in missing.items():
                key = values[column]
                place = rejected_at.get((upstream, key))
                reasons.append(Reason("foreign-key", column, None, Cause(upstream, key, place) if place else None))

            key = values.get("id")
            if not reasons and table.get(key) == values:
                outcome.unchanged += 1
                ours.add(key)
                continue
            contests = []
            if key in table and not (update and key not in ours):
                contests.append(Reason("primary-key", "id", key))
            for column, folded in UNIQUE.get(name, {}).items():
                for other, record in table.items():
                    if column in values and other != key and folded(record[column]) == folded(values[column]):
                        contests.append(Reason("unique-error", column, other))
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
