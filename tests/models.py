"""Models that nobody wrote: datasets of any fields, keys and references, with the cells to fill their files."""

import sys
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cache
from random import Random
from typing import Any, Literal, NamedTuple, NewType
from uuid import UUID

import attrs
from attrs.validators import gt, optional
from hypothesis import strategies as st

from loader import Dataset
from loader.core.values import max_places, not_blank
from tests import oracle
from tests.laws import NUMBER, Content, Models, Pool, contents
from tests.oracle import Field, Names, Spec


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


Sku = NewType("Sku", str)
WHOLE = r"-?(0|[1-9][0-9]{0,17})"
COLLECTION = r"\[.*\]|\{.*\}"


class Type(NamedTuple):
    """A type of field: how it is annotated, how the oracle reads and keeps it, its cells, and the rules it may have."""

    hint: Any
    read: Callable[[str], Any]
    pool: Pool
    stored: Callable[[Any], Any] = oracle.as_it_is
    is_text: bool = False
    rules: tuple[tuple[Callable[[Any], bool], Any], ...] = ()
    always: tuple[Callable[[Any], bool], ...] = ()


_INTEGERS = Pool(["1", "2", "3", "-4"], ["0", "1.0", "007", "+5", " 1", "x", "9223372036854775808"])
_TEXTS = ["a", "A", "b", "é", "É", "a,b", "null", "two\nlines"]
_POSITIVE = ((oracle.positive, gt(0)),)

INTEGER = Type(int, oracle.integer, _INTEGERS, rules=_POSITIVE)
TEXT = Type(
    str,
    oracle.plain_text,
    Pool(_TEXTS, ["bell\x07", " "], ""),
    is_text=True,
    rules=((oracle.not_blank, not_blank),),
)
IDENTITY = Type(
    UUID,
    oracle.uuid,
    Pool([f"{each}23e4567-e89b-12d3-a456-42661417400{each}" for each in "abAB"], ["x", "1" * 32, "{1}"]),
    str,
    True,
)
KEYS = (INTEGER, TEXT, IDENTITY)

TYPES = (
    *KEYS,
    Type(float, oracle.number, Pool(["1", "1.0", "-0.5", "1e3", "0.1"], ["NaN", "1_0", "1e400", ".5", "inf"])),
    Type(
        Decimal,
        oracle.decimal,
        Pool(["1", "1.50", "1.5", "-2", "0.25"], ["1e3", "NaN", "1234567890123456", "9.999"]),
        float,
        rules=((oracle.positive, gt(0)), (oracle.two_places, max_places(2))),
        always=(oracle.fifteen_digits,),
    ),
    Type(bool, oracle.boolean, Pool(["true", "false"], ["True", "1", "yes"], f"true|false|{NUMBER}"), int),
    Type(
        date,
        oracle.day,
        Pool(["2026-11-23", "2024-02-29", "0001-01-01"], ["2026-02-29", "2026-11-23T00:00:00", "20261123", "1"]),
        date.isoformat,
        True,
    ),
    Type(
        datetime,
        oracle.instant,
        Pool(
            ["2026-11-23T06:30:00", "2026-11-23T06:30:00Z", "2026-11-23T06:30:00.5+02:00", "2026-11-23T06:30:00+00:00"],
            [
                "2026-11-23",
                "2026-11-23 06:30:00",
                "2026-11-23T06:30",
                "2026-11-23T25:00:00",
                "2026-11-23T06:30:00+0200",
            ],
        ),
        datetime.isoformat,
        True,
    ),
    Type(
        time,
        oracle.clock,
        Pool(["06:30:00", "06:30:00.25", "06:30:00.250000"], ["6:30:00", "06:30", "06:30:60", "06:30:00Z"]),
        time.isoformat,
        True,
    ),
    Type(
        Color,
        {each.value: each for each in Color}.get,
        Pool(["red", "blue"], ["RED", "green", " red"], ""),
        lambda color: color.value,
        True,
    ),
    Type(
        Level,
        {str(each.value): each for each in Level}.get,
        Pool(["1", "2"], ["3", "LOW", "1.0", "01"]),
        lambda level: level.value,
    ),
    Type(Literal["x", "y"], {"x": "x", "y": "y"}.get, Pool(["x", "y"], ["X", "z"], ""), is_text=True),
    Type(int | str, oracle.first_of(oracle.integer, oracle.plain_text), Pool(["7", "007", "a", "A"], ["\x07"], WHOLE)),
    Type(
        date | bool,
        oracle.first_of(oracle.day, oracle.boolean),
        Pool(["true", "2026-11-23", "false"], ["x", "1"], "true|false"),
        lambda value: int(value) if isinstance(value, bool) else value.isoformat(),
    ),
    Type(Sku, oracle.plain_text, Pool(["s-1", "S-1", "s-2"], ["\x1b[0m"], ""), is_text=True),
    Type(
        list[int],
        oracle.json_of(list, int),
        Pool(["[]", "[1,2]", "[ 1,2 ]"], ['["a"]', "[1.5]", '{"a":1}', "[1,", "7"], COLLECTION),
        oracle.json_text,
        True,
    ),
    Type(
        dict[str, Any],
        oracle.json_of(dict),
        Pool(['{"a":1}', '{"a": 1}', '{"b":[1,{"é":null}],"a":1.5}'], ["[]", '"a"', "{a:1", "7"], COLLECTION),
        oracle.json_text,
        True,
    ),
)
"""Every type that a field may have."""


class Member(NamedTuple):
    """A field that was drawn, with what its class needs to know of it."""

    field: Field
    type: Type
    validators: tuple[Any, ...]

    @property
    def pool(self) -> Pool:
        """The cells of its type, and the empty one."""
        sound, faulty, bare = self.type.pool
        return Pool([*sound, "", ""], faulty, bare) if self.field.optional else Pool(sound, [*faulty, ""], bare)


@cache
def made(seed: int) -> Models:
    """One to four datasets."""
    random = Random(seed)
    specs: dict[str, Spec] = {}
    members: dict[str, list[Member]] = {}
    datasets = []
    for name in [f"{word}{seed}" for word in ("farm", "Group", "index", "order")[: random.choice([1, 2, 2, 3, 4])]]:
        spec, members[name] = _spec(name, specs, members, random)
        specs[name] = spec
        datasets.append(_dataset(spec, members[name], random))
    random.shuffle(datasets)
    pools = {(name, one.field.name): one.pool for name, some in members.items() for one in some}
    return Models(tuple(specs.values()), tuple(datasets), pools)


def _spec(
    name: str, specs: dict[str, Spec], members: dict[str, list[Member]], random: Random
) -> tuple[Spec, list[Member]]:
    key = [_member(f"key{at}", random, is_needed=True) for at in range(random.choice([1, 1, 2]))]
    mine = list(key)
    references: dict[Names, str] = {}
    for at, upstream in enumerate([*specs, *specs, name]):
        if random.random() < (0.35 if upstream == name else 0.5):
            by_name = {one.field.name: one for one in members.get(upstream, key)}
            its_key = key if upstream == name else [by_name[each] for each in specs[upstream].key]
            refers = [_like(one, f"to{at}_{one.field.name}", upstream == name, random) for one in its_key]
            mine += refers
            references[tuple(one.field.name for one in refers)] = upstream
            if upstream != name and random.random() < 0.3 and not any(one.field.optional for one in refers):
                key = [*refers, *key[:1]]
    mine += [_member(f"value{at}", random) for at in range(random.randint(0, 3))]
    random.shuffle(mine)
    names = tuple(one.field.name for one in key)
    groups = [tuple(one.field.name for one in random.sample(mine, min(len(mine), random.choice([1, 2])))) for _ in "ab"]
    unique = tuple({frozenset(group): group for group in groups if set(group) != set(names)}.values())
    unique = unique[: random.randint(0, 2)]
    texts = [one.field.name for one in mine if one.type.is_text and any(one.field.name in group for group in unique)]
    whole = [one.field.name for one in mine if one.type is INTEGER]
    spec = Spec(
        name,
        tuple(one.field for one in mine),
        names,
        unique,
        tuple(each for each in texts if random.random() < 0.5),
        references,
        tuple(whole[:2]) if len(whole) > 1 and random.random() < 0.4 else (),
        random.choice(["", f"table_{name}"]),
        random.choice(["", "", "together"]),
    )
    return spec, mine


def _member(name: str, random: Random, is_needed: bool = False) -> Member:
    type_ = random.choice(KEYS if random.random() < 0.5 else TYPES)
    rules = [pair for pair in type_.rules if random.random() < 0.5]
    is_nullable = not is_needed and random.random() < 0.4
    default = "" if is_needed or random.random() < 0.7 else type_.pool.sound[0]
    column = random.choice(["", "", f"The {name}"])
    field = Field(
        name, type_.read, (*(rule for rule, _ in rules), *type_.always), type_.stored, column, is_nullable, default
    )
    return Member(field, type_, tuple(validator for _, validator in rules))


def _like(one: Member, name: str, is_own: bool, random: Random) -> Member:
    """A field that refers to another."""
    is_nullable = random.random() < (0.9 if is_own else 0.4)
    default = one.type.pool.sound[1] if random.random() < 0.1 else ""
    field = one.field._replace(name=name, column="", nullable=is_nullable, default=default, rules=one.type.always)
    return Member(field, one.type, ())


def _dataset(spec: Spec, members: list[Member], random: Random) -> Dataset:
    kw_only = random.random() < 0.5
    if not kw_only:
        members.sort(key=lambda one: bool(one.field.default))
    names = {one.field.name: random.choice(["", "_"]) + one.field.name for one in members}
    fields = {names[one.field.name]: _attribute(one, random) for one in members}
    body = {"__attrs_post_init__": _ordered(*(names[each] for each in spec.ordered))} if spec.ordered else {}
    model = attrs.make_class(
        spec.name,
        fields,
        class_body=body,
        kw_only=kw_only,
        frozen=random.random() < 0.5,
        slots=random.random() < 0.5,
    )
    model.__module__ = __name__
    setattr(sys.modules[__name__], spec.name, model)  # where pickle looks for it
    return Dataset(
        spec.name,
        model,
        spec.key,
        spec.unique,
        spec.nocase,
        {group if len(group) > 1 else group[0]: name for group, name in spec.references.items()},
        {one.name: one.column for one in spec.fields if one.column},
        spec.table or spec.name,
        spec.database or spec.name,
    )


def _attribute(one: Member, random: Random) -> Any:
    hint = one.type.hint | None if one.field.nullable else one.type.hint
    validators = [optional(each) if one.field.nullable else each for each in one.validators]
    options: dict[str, Any] = {}
    if one.field.default:
        if random.random() < 0.5 or one.type.pool.bare == COLLECTION:
            options["factory"] = lambda: one.type.read(one.field.default)
        else:
            options["default"] = one.type.read(one.field.default)
    return attrs.field(type=hint, validator=validators or None, **options)


def _ordered(first: str, second: str) -> Callable[[Any], None]:
    def check(instance: Any) -> None:
        one, other = getattr(instance, first), getattr(instance, second)
        if one is not None and other is not None and one > other:
            raise ValueError(f"{first} is greater than {second}")

    return check


@st.composite
def loads(draw: st.DrawFn, most: int = 8) -> tuple[Content, Content | None]:
    """The files of a load of generated models, and those of a load before, if there was one."""
    models = made(draw(st.integers(0, 2**20)))
    return draw(contents(most, models)), draw(st.none() | contents(4, models))
