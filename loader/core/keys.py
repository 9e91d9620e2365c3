"""A set of keys that stays small: two bytes or less for an integer, in a roaring bitmap."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pyroaring import BitMap64


class KeySet:
    """A set that only grows. Natural numbers are kept in a roaring bitmap (Lemire et al. 2018), all else in a set."""

    def __init__(self) -> None:
        self._bits = BitMap64()
        self._others: set[object] = set()

    def __contains__(self, key: object) -> bool:
        return key in self._bits if type(key) is int and 0 <= key < 2**64 else key in self._others

    def __len__(self) -> int:
        return len(self._bits) + len(self._others)

    def update(self, keys: Iterable[object]) -> None:
        bits, others = _split(keys)
        self._bits |= bits
        self._others |= others

    def missing(self, keys: Iterable[object]) -> Iterator[object]:
        """Those of the keys that are not in the set, each once."""
        bits, others = _split(keys)
        yield from bits - self._bits
        yield from others - self._others

    def held(self, keys: Iterable[object]) -> Iterator[object]:
        """Those of the keys that are in the set, each once."""
        bits, others = _split(keys)
        yield from bits & self._bits
        yield from others & self._others


def _split(keys: Iterable[object]) -> tuple[BitMap64, set[object]]:
    keys = list(keys)
    if set(map(type, keys)) <= {int}:
        with suppress(OverflowError):  # for what is below 0
            return BitMap64(keys), set()  # type: ignore[arg-type]
    natural = {key for key in keys if type(key) is int and 0 <= key < 2**64}
    return BitMap64(natural), set(keys) - natural
