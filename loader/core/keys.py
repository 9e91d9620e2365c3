"""A set of keys that stays small: two bytes or less for an integer, in a roaring bitmap."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from types import NoneType
from typing import Any, Self

from pyroaring import BitMap64


class KeySet:
    """A set of keys. Natural numbers are kept in a roaring bitmap (Lemire et al. 2018), all else in a set."""

    def __init__(self, keys: Iterable[Any] = ()) -> None:
        self._others: set[object] = set()
        if isinstance(keys, array):
            self._bits = BitMap64(array("Q", keys.tobytes()))
            if not self._bits or self._bits.max() < 2**63:  # else some are below 0
                return
        keys = keys if isinstance(keys, list) else list(keys)
        types = set(map(type, keys))
        if types <= {int}:
            with suppress(OverflowError):  # for what is below 0
                self._bits = BitMap64(keys)
                return
        if types.isdisjoint((int, float)):
            self._bits, self._others = BitMap64(), set(keys)
            return
        natural = {key for key in set(keys) if _is_natural(key)}
        self._bits = BitMap64(map(int, natural))
        self._others = set(keys) - natural

    def __contains__(self, key: Any) -> bool:
        return int(key) in self._bits if _is_natural(key) else key in self._others

    def __len__(self) -> int:
        return len(self._bits) + len(self._others)

    def __iter__(self) -> Iterator[object]:
        return chain(self._bits, self._others)

    def lacking(self, values: Sequence[Any]) -> list[int]:
        """The positions of those values that are not in the set; None is no value."""
        if isinstance(values, array) or set(map(type, values)) <= {int, NoneType}:
            bits = self._bits
            with suppress(OverflowError):  # for what is below 0
                return [at for at, value in enumerate(values) if value is not None and value not in bits]
        return [at for at, value in enumerate(values) if value is not None and value not in self]

    @property
    def size(self) -> float:
        """How many bytes it takes to pass it on; infinite, if some of the keys are in no bitmap."""
        return inf if self._others else len(self._bits.serialize())

    def __ior__(self, other: "KeySet") -> Self:
        self._bits |= other._bits
        self._others |= other._others
        return self

    def __or__(self, other: "KeySet") -> "KeySet":
        return self._of(self._bits | other._bits, self._others | other._others)

    def __sub__(self, other: "KeySet") -> "KeySet":
        return self._of(self._bits - other._bits, self._others - other._others)

    def __and__(self, other: "KeySet") -> "KeySet":
        return self._of(self._bits & other._bits, self._others & other._others)

    @classmethod
    def _of(cls, bits: BitMap64, others: set[object]) -> "KeySet":
        made = cls()
        made._bits, made._others = bits, others
        return made


def _is_natural(key: Any) -> bool:
    """Whether it is a natural number, of whatever type, as 1.0 is: SQLite and Python tell it from no other."""
    return isinstance(key, int | float) and 0 <= key < 2**64 and key == int(key)
