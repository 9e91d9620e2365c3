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
        (lambda: Dataset("t", PLAIN, "id", ("id",)), "class Plain id: a key is unique without"),
        (lambda: Dataset("t", model("Some", {"id": int | None}), "id"), "class Some id: .*key of its own"),
        (
            lambda: Dataset("t", model("Some", {"id": field(type=int, default=1)}), "id"),
            "class Some id: .*key of its own",
        ),
        (lambda: Dataset("t", model("Some", {"id": int, "x": float}), "id"), "class Some x: .*Decimal, int, str"),
        (lambda: Dataset("t", model("Some", {"id": int, "x": bool}), "id"), "class Some x: .*Decimal, int, str"),
        (lambda: Dataset("t", model("Some", {"id": int, "x": list[int]}), "id"), "class Some x: .*Decimal, int, str"),
        (lambda: Dataset("t", model("Some", {"id": int, "x": int | str}), "id"), "class Some x: .*Decimal, int, str"),
        (lambda: Dataset("t", model("Some", {"id": int, "x": field()}), "id"), "class Some x: .*Decimal, int, str"),
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
        (lambda: Dataset("t", model("Some", {"id": int, "_x": int}), "id"), "class Some _x: "),
        (lambda: Dataset("t", model("Some", {"id": field(type=int, kw_only=True)}), "id"), "class Some id: "),
        (lambda: Dataset("t", model("Some", {"id": int, "x": field(type=int, init=False)}), "id"), "class Some x: "),
        (
            lambda: Dataset(
                "t",
                model(
                    "Some",
                    {"id": int, "x": field(type=int, default=attrs.Factory(lambda one: one.id, takes_self=True))},
                ),
                "id",
            ),
            "class Some x: a default that depends",
        ),
    ],
)
def test_a_declaration_that_cannot_be_loaded_names_class_and_field(declare: Callable[[], Dataset], words: str) -> None:
    """What cannot be loaded is a usage error that says in which class, at which field, and why."""
    with pytest.raises(DeclarationError, match=words) as error:
        declare()
    assert isinstance(error.value, UsageError)


def test_what_is_worked_out_of_a_declaration() -> None:
    """Names, positions and optional fields follow from the class."""
    assert LINES.names == ("id", "note", "price", "tags")
    assert (LINES.key_at, LINES.unique_at, dict(LINES.references_at)) == (0, (1, 2), {3: "x"})
    assert [each.optional for each in LINES.fields] == [False, True, True, True]
    assert [each.nullable for each in LINES.fields] == [False, True, False, False]
    assert LINES.values(OrderLine(7, "n", Decimal(2), "t")) == (7, "n", Decimal(2), "t")
    assert [each.singular for each in (*DATASETS, LINES)] == ["user", "product", "order", "order line"]


def test_what_stands_in_for_no_value() -> None:
    """A field without a value gets its default, else None if it may be; else there must be one."""
    assert [each.absent() for each in LINES.fields[1:]] == [None, Decimal(1), "new"]
    with pytest.raises(ValueError, match="must have a value"):
        LINES.fields[0].absent()


def test_a_class_of_one_field_gives_tuples_too() -> None:
    """The values of a record are a tuple, also if there is but one."""
    one = model("One", {"id": int})
    assert Dataset("ones", one, "id").values(one(7)) == (7,)


@pytest.mark.parametrize("dataset", [PRODUCTS, LINES], ids=lambda one: one.name)
def test_a_dataset_survives_pickling(dataset: Dataset) -> None:
    """A dataset can be sent to another process, although its validators are closures that cannot."""
    copy = pickle.loads(pickle.dumps(dataset))
    for name in ("name", "model", "key", "unique", "nocase", "references", "names", "key_at", "unique_at"):
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


def test_a_dataset_may_not_refer_to_itself() -> None:
    """A reference to the own dataset is a circle."""
    with pytest.raises(DeclarationError, match="in a circle: tree -> tree"):
        in_reference_order([linked("tree", "tree")])
