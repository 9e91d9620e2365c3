"""How many records of a dataset may be rejected before it fails."""

import re
from decimal import Decimal
from math import inf
from typing import Self

from attrs import field, frozen

from loader.core.errors import UsageError

_LIMIT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9}(?=%))?)(%?)")


@frozen
class RejectLimit:
    """A number of records or, with `percent`, a share of those read."""

    number: Decimal = field(converter=Decimal)
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10` or `0.5%`; UsageError for anything else."""
        found = _LIMIT.fullmatch(text)
        if not found:
            raise UsageError(f"max-rejects is a number of records or a percentage, as 10 or 0.5%, not {text!r}")
        return cls(Decimal(found[1]), bool(found[2]))

    def __str__(self) -> str:
        return f"{self.number}{'%' if self.percent else ''}"

    @property
    def records(self) -> float:
        """How many rejects are too many for certain, however many records follow."""
        return inf if self.percent else int(self.number)

    def exceeded(self, rejected: int, read: int) -> bool:
        """Whether so many of so many are too many."""
        return rejected * 100 > self.number * read if self.percent else rejected > self.number
