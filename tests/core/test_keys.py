"""A set of keys behaves as a plain set does, whatever the keys."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from loader.core.keys import KeySet

SMALL = st.integers(-5, 20)
KEYS = st.lists(
    st.lists(SMALL | st.sampled_from([0, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1]))
    | st.lists(SMALL.map(str))
    | st.lists(st.tuples(SMALL, SMALL.map(str)))
    | st.lists(st.one_of(SMALL, SMALL.map(str), SMALL.map(lambda number: number + 0.5))),
    max_size=5,
)


def filled(batches: Iterable[Iterable[object]]) -> KeySet:
    keys = KeySet()
    for batch in batches:
        keys |= KeySet(batch)
    return keys


@given(KEYS, KEYS)
def test_a_key_set_is_a_set(batches: list[list[object]], asked: list[list[object]]) -> None:
    """Integers, text, tuples and mixtures: what was added is there, nothing else is, and each counts once."""
    keys = filled(batches)
    plain = {key for batch in batches for key in batch}
    assert (set(keys), len(keys)) == (plain, len(plain))
    for some in asked:
        assert [key in keys for key in some] == [key in plain for key in some]
        for answer, wanted in (
            (KeySet(some) - keys, set(some) - plain),
            (KeySet(some) & keys, set(some) & plain),
            (KeySet(some) | keys, set(some) | plain),
        ):
            assert set(answer) == wanted
            assert len(list(answer)) == len(answer) == len(wanted)
    assert set(keys) == plain


@given(st.lists(st.sampled_from([0, 1, 2, -1, 2**63 - 1, -(2**63)])))
def test_integers_may_come_in_an_array(numbers: list[int]) -> None:
    """The keys of an array are those of the list of its integers, with any below 0."""
    keys = KeySet(array("q", numbers))
    assert (set(keys), len(keys)) == (set(numbers), len(set(numbers)))
    assert all(number in keys for number in numbers)


VALUES = st.one_of(
    st.lists(SMALL | st.none()),
    st.lists(st.integers(-3, 2**64)).map(lambda numbers: [*numbers, *range(4)]),
    st.lists(SMALL).map(lambda numbers: array("q", numbers)),
    st.lists(st.sampled_from([1, 1.0, 1.5, "1", (1,), None, True, -1, 2**70])),
)


@given(KEYS, VALUES)
@example([[1, 2]], [1.5, 1])
@example([[1, -5]], array("q", [-5, 1, 2]))
@example([[1]], [1, None, 2])
def test_it_is_told_which_values_are_lacking(batches: list[list[object]], values: Sequence[Any]) -> None:
    """Of a column of any values, in an array or a list, those are found that are not in the set; None is no value."""
    plain = {key for batch in batches for key in batch}
    lacking = [at for at, value in enumerate(values) if value is not None and value not in plain]
    assert filled(batches).lacking(values) == lacking


def test_any_iterable_will_do() -> None:
    """Keys may come from a generator or a set."""
    assert set(KeySet(number for number in (1, -1)) | KeySet({"a"})) == {1, -1, "a"}


def test_an_empty_set_holds_nothing() -> None:
    """Nothing is in an empty set, and it is false."""
    keys = KeySet()
    assert (len(keys), bool(keys), 0 in keys, "" in keys, list(keys)) == (0, False, False, False, [])
