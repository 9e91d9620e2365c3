"""What may be declared of a dataset, and the order that references give."""

import pickle
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from loader.core.dataset import Dataset, in_reference_order
from loader.core.errors import DeclarationError, UsageError
from loader.core.records import Batch, Draft, Records
from loader.core.values import max_places
from loader.datasets import DATASETS
from loader.datasets.orders import ORDERS
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS


@define
class OrderLine:
    id: int
    note: str | None = None
    price: Decimal = field(default=Decimal(1), validator=max_places(2))
    tags: str = field(factory=lambda: "new")


LINES = Dataset(
    name="lines", model=OrderLine, key="id", unique=("note", "price"), nocase=("note",), references={"tags": "x"}
)


def model(name: str, given_: Mapping[str, Any]) -> Any:
    """A class of these fields, by their types or attrs declarations."""
    fields = {each: one if hasattr(one, "validator") else field(type=one) for each, one in given_.items()}
    return attrs.make_class(name, fields)


PLAIN = model("Plain", {"id": int, "name": str})


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: Dataset("9 lives", PLAIN, "id"), "'9 lives'"),
        (lambda: Dataset("sqlite.x", PLAIN, "id"), "'sqlite.x'"),
        (lambda: Dataset("t", dict, "id"), "'t'.*dict.* is not an attrs class"),
        (lambda: Dataset("t", PLAIN, "nr"), "class Plain has no field 'nr'"),
        (lambda: Dataset("t", PLAIN, "id", unique=("mail",)), "class Plain has no field 'mail'"),
        (lambda: Dataset("t", PLAIN, "id", nocase=("mail",)), "class Plain has no field 'mail'"),
        (lambda: Dataset("t", PLAIN, "id", references={"user": "users"}), "class Plain has no field 'user'"),
        (lambda: Dataset("t", PLAIN, "id", nocase=("name",)), "class Plain name: only text that is unique"),
        (lambda: Dataset("t", PLAIN, "id", ("id",)), "class Plain id: is unique already"),
        (lambda: Dataset("t", model("Some", {"id": int | None}), "id"), "class Some id: .*key of its own"),
        (
            lambda: Dataset("t", model("Some", {"id": field(type=int, default=1)}), "id"),
            "class Some id: .*key of its own",
        ),
        (lambda: Dataset("t", model("Some", {"id": int, "x": complex}), "id"), "class Some x: .*int; float; Decimal"),
        (lambda: Dataset("t", model("Some", {"id": int, "x": int | set}), "id"), "class Some x: .*int; float; Decimal"),
        (lambda: Dataset("t", model("Some", {"id": int, "x": field()}), "id"), "class Some x: .*int; float; Decimal"),
        (
            lambda: Dataset(
                "t",
                model(
                    "Some",
                    {
                        "id": int,
                        "x": field(type="Nowhere"),  # type: ignore[call-overload]
                    },
                ),
                "id",
            ),
            "class Some.*Nowhere",
        ),
    ],
)
def test_a_declaration_that_cannot_be_loaded_names_class_and_field(declare: Callable[[], Dataset], words: str) -> None:
    """What cannot be loaded is a usage error that says in which class, at which field, and why."""
    with pytest.raises(DeclarationError, match=words) as error:
        declare()
    assert isinstance(error.value, UsageError)


def test_what_is_worked_out_of_a_declaration() -> None:
    """Names, groups of fields and optional fields follow from the class."""
    assert LINES.names == LINES.header == ("id", "note", "price", "tags")
    assert [group.at for group in LINES.claim_groups] == [(0,), (1,), (2,)]
    assert [(group.at, name) for group, name in LINES.reference_groups.items()] == [((3,), "x")]
    assert [each.optional for each in LINES.fields] == [False, True, True, True]
    assert [each.nullable for each in LINES.fields] == [False, True, False, False]
    assert LINES.stored(OrderLine(7, "n", Decimal("2.5"), "t")) == (7, "n", 2.5, "t")
    assert [each.singular for each in (*DATASETS, LINES)] == ["user", "product", "order", "order line"]


@pytest.mark.parametrize("nothing", ["", None])
def test_what_stands_in_for_no_value(nothing: object) -> None:
    """A field without a value gets its default, else None if it may be; else there must be one."""
    assert [each.read(nothing) for each in LINES.fields[1:]] == [None, Decimal(1), "new"]
    with pytest.raises(ValueError, match="must have a value"):
        LINES.fields[0].read(nothing)


def test_a_class_of_one_field_gives_tuples_too() -> None:
    """The values of a record are a tuple, also if there is but one."""
    one = model("One", {"id": int})
    assert Dataset("ones", one, "id").stored(one(7)) == (7,)


@pytest.mark.parametrize("dataset", [PRODUCTS, LINES], ids=lambda one: one.name)
def test_a_dataset_survives_pickling(dataset: Dataset) -> None:
    """A dataset can be sent to another process, although its validators are closures that cannot."""
    copy = pickle.loads(pickle.dumps(dataset))
    for name in ("name", "model", "key", "unique", "nocase", "references", "names", "claim_groups", "reference_groups"):
        assert getattr(copy, name) == getattr(dataset, name)
    assert [each.attribute for each in copy.fields] == [each.attribute for each in dataset.fields]


def linked(name: str, *upstream: str) -> Dataset:
    """A dataset that refers to these."""
    fields = {"id": int, **{f"to_{each}": int for each in upstream}}
    return Dataset(name, model(name.title(), fields), "id", references={f"to_{each}": each for each in upstream})


@given(st.permutations(DATASETS))
def test_upstream_comes_first(datasets: list[Dataset]) -> None:
    """In whatever order they are given, orders come behind users and products."""
    assert in_reference_order(datasets)[-1] is ORDERS
    assert set(in_reference_order(datasets)) == {USERS, PRODUCTS, ORDERS}


@pytest.mark.parametrize("at", [0, 4, 8])
def test_datasets_that_are_free_keep_the_order_given(at: int) -> None:
    """Where references leave the order open it is the one given, and the same in every process."""
    names = ["h", "b", "e", "a", "g", "c", "f", "d"]
    datasets = [linked(name) for name in names]
    datasets.insert(at, linked("top", *names))
    assert [each.name for each in in_reference_order(datasets)] == [*names, "top"]


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ([linked("a"), linked("a")], "two datasets are named 'a'"),
        ([linked("a", "b")], "dataset 'a': to_b refers to dataset 'b', which is not there"),
        ([linked("a", "b"), linked("b", "a")], "circle: (a -> b -> a|b -> a -> b)"),
        (
            [linked("a", "b"), linked("b", "c"), linked("c", "a"), linked("d")],
            "circle: [abc] -> [abc] -> [abc] -> [abc]",
        ),
    ],
)
def test_references_that_lead_nowhere_or_in_a_circle_are_refused(datasets: list[Dataset], words: str) -> None:
    """Two datasets of a name, a reference to none, and references in a circle are declaration errors."""
    with pytest.raises(DeclarationError, match=words):
        in_reference_order(datasets)


def test_a_circle_is_told_in_the_direction_of_its_references() -> None:
    """The circle is written as the fields refer: from the dataset that refers to the one referred to."""
    with pytest.raises(DeclarationError) as error:
        in_reference_order([linked("a", "b"), linked("b", "c"), linked("c", "a")])
    assert str(error.value).rpartition(": ")[2] in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")


def test_a_reference_to_the_own_dataset_is_no_circle() -> None:
    """A dataset may refer to itself, for a record's parent stands in an earlier row; a circle of two is still one."""
    tree = linked("tree", "tree")
    assert in_reference_order([tree]) == [tree]
    with pytest.raises(DeclarationError, match=r"circle: (a -> b -> a|b -> a -> b)"):
        in_reference_order([linked("a", "a", "b"), linked("b", "a")])


def test_a_tuple_of_one_name_says_the_same_as_the_name() -> None:
    """Key, unique fields and references may be written either way."""
    one = Dataset("t", PLAIN, ("id",), [("name",)], references={("name",): "u"})
    assert (one.key, one.unique, one.references) == ("id", ("name",), {"name": "u"})


def test_a_missing_key_is_explained() -> None:
    """Who names no key reads what it is for, and how to name one."""
    with pytest.raises(
        DeclarationError, match=r"class Plain has no key: .* is what others refer to; name one, as key="
    ):
        Dataset("t", PLAIN)


MAYBE_INT: Any = int | None
WIDE = {f"k{at}": int for at in range(128)}


@define
class Stay:
    """A model with fields of every making."""

    _house: str
    number: int = field(alias="no")
    guest: MAYBE_INT = None
    nights: int = field(default=attrs.Factory(lambda self: self.number, takes_self=True), kw_only=True)
    note: str = field(init=False, default="new")


STAYS = Dataset("stays", Stay, ("house", "number"), [("guest", "nights")], columns={"nights": "Nights spent"})


def test_a_field_has_a_name_and_a_column() -> None:
    """A private field goes by its public name, an alias is its column, and what is not given is no column."""
    assert STAYS.names == ("house", "number", "guest", "nights", "note")
    assert STAYS.header == ("house", "no", "guest", "Nights spent")
    assert (STAYS.key_group.name, STAYS.unique_groups[0].name) == ("house, no", "guest, Nights spent")


def test_a_model_is_made_as_it_wants_to_be() -> None:
    """Fields that are given by name only, and defaults that depend on others, are given as the class takes them."""
    assert STAYS.construct("a", 1, None, 7) == Stay("a", 1, None, nights=7)
    assert STAYS.construct("a", 2, 5, attrs.NOTHING) == Stay("a", 2, 5, nights=2)
    assert STAYS.stored(Stay("a", 2)) == ("a", 2, None, 2, "new")


ROW = st.tuples(*[st.integers(0, 2) | st.none()] * 3)


@given(st.lists(st.tuples(ROW, st.booleans()), max_size=8), st.sets(st.integers(0, 2), min_size=1))
def test_values_are_found_in_records_and_drafts(rows: list[tuple[Any, bool]], wanted: set[int]) -> None:
    """A group has a value where all its fields have one, in a record as in what was understood of a row."""
    fields = dict.fromkeys("abc", field(type=MAYBE_INT, default=None))
    dataset = Dataset("t", model("Some", {"id": int, **fields}), "id", [("a", "c")], references={"b": "u"})
    numbered = [(line, (line, *row), is_record) for line, (row, is_record) in enumerate(rows, 2)]
    batch = Batch(
        Records.of(row for _, row, is_record in numbered if is_record),
        [line for line, _, is_record in numbered if is_record],
        [
            Draft(line, (), {at: value for at, value in enumerate(row) if value is not None})
            for line, row, is_record in numbered
            if not is_record
        ],
    )
    [both], [one] = dataset.unique_groups, dataset.reference_groups
    pairs = [(a, c) for (a, _, c), _ in rows if a is not None and c is not None]
    for group, values in ((both, pairs), (one, [b for (_, b, _), _ in rows if b is not None])):
        assert sorted([*group.present(batch.records), *group.of_drafts(batch.drafts)]) == sorted(values)
    lines = [line for line, (_, _, b, _), _ in numbered if b in wanted]
    if lines:
        assert one.first_line(batch, wanted) == lines[0]


def test_text_is_compared_without_case_only_where_that_is_said() -> None:
    """Of a combination the parts that disregard case are folded, never those of the key."""
    some = model("Some", {"a": str, "b": str, "c": str})
    dataset = Dataset("t", some, ("a", "b"), [("b", "c")], "b")
    [unique] = dataset.unique_groups
    assert (unique.fold(("B", "C")), unique.fold(None)) == (("b", "C"), None)
    assert dataset.key_group.fold(("A", "B")) == ("A", "B")


TEXTS: Any = list[str]


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: Dataset("t", PLAIN, ("id", "nr")), "class Plain has no field 'nr'"),
        (lambda: Dataset("t", PLAIN, "id", [("name", "mail")]), "class Plain has no field 'mail'"),
        (lambda: Dataset("t", PLAIN, "id", references={("id", "of"): "u"}), "class Plain has no field 'of'"),
        (lambda: Dataset("t", PLAIN, "id", columns={"mail": "E-Mail"}), "class Plain has no field 'mail'"),
        (lambda: Dataset("t", PLAIN, "id", columns={"name": "id"}), "class Plain id: two columns have that name"),
        (lambda: Dataset("t", PLAIN, "id", columns={"name": "_name"}), "class Plain name: columns that begin with '_'"),
        (lambda: Dataset("t", PLAIN, ("id", "name"), [("name", "id")]), "class Plain name, id: is unique already"),
        (lambda: Dataset("t", PLAIN, "id", ["name", ("name",)]), "class Plain name: is unique already"),
        (lambda: Dataset("t", model("S", {"id": int, "ID": int}), "id"), "class S id: two fields have that name"),
        (lambda: Dataset("t", model("S", {"id": field(type=int, init=False)}), "id"), "class S id: .*key of its own"),
        (lambda: Dataset("t", model("S", {"id": int, "b": MAYBE_INT}), ("id", "b")), "class S b: .*key of its own"),
        (lambda: Dataset("t", model("S", WIDE), tuple(WIDE)), "class S has a key of 128 fields: it may have 127"),
        (lambda: Dataset("t", model("S", {"id": int}), "id", ["id"]), "class S id: is unique already"),
        (lambda: Dataset("t", model("S", {"id": int, "n": int}), "id", "n", "n"), "class S n: only text"),
        (
            lambda: Dataset("t", model("S", {"id": int, "n": field(type=int, default="1")}), "id"),
            "class S n: its default not of type int: '1'",
        ),
        (lambda: Dataset("t", model("S", {"id": int, "n": field(type=int, default=None)}), "id"), "class S n: its def"),
        (lambda: Dataset("t", PLAIN, "id", table="a b"), "dataset 'a b'"),
        (lambda: Dataset("t", PLAIN, "id", table="SQLITE_master"), "dataset 'SQLITE_master'"),
        (lambda: Dataset("t", PLAIN, "id", database="../up"), "dataset '../up'"),
        (lambda: Dataset("t", 7, "id"), "7 is not an attrs class"),
    ],
)
def test_more_declarations_that_cannot_be_loaded(declare: Callable[[], Dataset], words: str) -> None:
    """Groups of fields, columns, tables and defaults are looked at too, when they are declared."""
    with pytest.raises(DeclarationError, match=words):
        declare()


def test_two_datasets_may_not_share_a_table() -> None:
    """In one database file each has a table of its own; SQL does not tell small letters from capitals."""
    one, other = (Dataset(name, PLAIN, "id", table=table, database="db") for name, table in (("a", "T"), ("b", "t")))
    with pytest.raises(DeclarationError, match="datasets 'a' and 'b' have the same table 't' in 'db'"):
        in_reference_order([one, other])
    assert in_reference_order([one, Dataset("b", PLAIN, "id", table="T")])


@pytest.mark.parametrize(
    ("fields", "references"),
    [({"up": str}, "up"), ({"up": MAYBE_INT}, ("up", "id")), ({"up": int | str}, "up"), ({"up": TEXTS}, "up")],
    ids=str,
)
def test_a_reference_is_of_the_type_of_the_key(fields: Mapping[str, Any], references: Any) -> None:
    """A reference of other types, or of more fields, than the key it refers to could never be there."""
    below = Dataset("below", model("Below", {"id": int, **fields}), "id", references={references: "top"})
    top = Dataset("top", model("Top", {"id": int}), "id")
    with pytest.raises(
        DeclarationError, match=r"'below': class Below up.*: is of type .*the key of 'top'.*, id, of type int"
    ):
        in_reference_order([below, top])


@pytest.mark.parametrize(
    "says",
    [
        {"unique": ((),)},
        {"key": 5},
        {"key": None},
        {"key": ("id", "id")},
        {"unique": 5},
        {"unique": (("name", "name"),)},
        {"nocase": (5,)},
        {"references": ["name"]},
        {"references": {("id", "id"): "others"}},
        {"columns": 5},
        {"columns": {"name": 5}},
        {"columns": lambda name: 5},
    ],
    ids=str,
)
def test_a_declaration_of_the_wrong_shape_is_told_as_such(says: Mapping[str, Any]) -> None:
    """What is no name, or no mapping, is a declaration error that names class and argument, never another error."""
    with pytest.raises(DeclarationError, match=r"^dataset 't': class Plain .*"):
        Dataset("t", PLAIN, **{"key": "id", **says})


def test_an_init_that_takes_something_else_is_told() -> None:
    """A model whose own `__init__` does not take its fields by name could never be made."""

    @define(init=False)
    class Odd:
        id: int
        name: str

        def __init__(self, id: int) -> None:  # noqa: A002
            self.__attrs_init__(id, "x")

    with pytest.raises(DeclarationError, match=r"class Odd has an __init__ that does not take its fields: .*'name'"):
        Dataset("t", Odd, "id")


def test_a_dataset_of_integers_is_known_as_one() -> None:
    """Its rows can be read as one array, in any format."""
    assert (ORDERS.numeric, USERS.numeric) == (True, False)
