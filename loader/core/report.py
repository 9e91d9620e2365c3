"""The fold of a run's events: how many records met which end, why rows were rejected, and what follows for the run."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Literal, assert_never

from attrs import Factory, define, evolve, field, fields_dict

from loader.core.errors import LoaderError, OutputError
from loader.core.events import Closed, Committed, Event, Opened, Read, Rejected, Status, Untried, Waits
from loader.core.records import Place, Rejection

KEPT_REJECTIONS = 1_000
KEPT_WHYS = 100
KEPT_TEXT = 1_000
KEPT_ROW = 20_000
ENDS = ("inserted", "updated", "unchanged", "rejected", "untried")
"""The five ends of a record; their sum is what was read."""

RunStatus = Literal["complete", "rejects", "failed", "interrupted"]


@define
class Counts:
    """How many records were read, and how many of them met each end."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    untried: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in fields_dict(Counts)))


@define
class Why:
    """How often rows were rejected for one code and field, and where first."""

    count: int
    first: Place


@define
class Tally:
    """What became of one dataset, up to now.

    `rejections` are the first 1,000, with texts of 1,000 characters, and of 20,000 in all; `whys` has the fields of the
    first 100.
    """

    name: str
    sources: tuple[str, ...]
    target: str
    counts: Counts = Factory(Counts)
    status: Status | None = None
    problem: LoaderError | None = None
    seconds: float = 0.0
    size: int = 0
    position: int = 0
    waits_for: str | None = None
    rejections: list[Rejection] = Factory(list)
    whys: dict[tuple[str, str | None], Why] = Factory(dict)

    @property
    def reasons(self) -> dict[str, int]:
        """How many reasons there were of each code, by code."""
        total: Counter[str] = Counter()
        for (code, _), why in self.whys.items():
            total[code] += why.count
        return dict(sorted(total.items()))

    @property
    def rejections_omitted(self) -> int:
        return self.counts.rejected - len(self.rejections)

    def fold(self, event: Event) -> None:
        match event:
            case Rejected():
                self._reject(event.rejections)
            case Opened():
                self.size = event.size
            case Read():
                self.counts.read += event.records
                self.position = event.position
            case Waits():
                self.waits_for = event.upstream
            case Committed():
                self.counts.inserted += event.inserted
                self.counts.updated += event.updated
                self.counts.unchanged += event.unchanged
            case Untried():
                self.counts.untried += event.records
            case Closed():
                self.status, self.problem, self.seconds = event.status, event.problem, event.seconds
            case _:
                assert_never(event)

    def _reject(self, rejections: Sequence[Rejection]) -> None:
        self.counts.rejected += len(rejections)
        self.rejections += map(_shortened, rejections[: KEPT_REJECTIONS - len(self.rejections)])
        for rejection in rejections:
            for reason in rejection.reasons:
                why = self.whys.get((reason.code, reason.field))
                if why is None:
                    field = reason.field if len(self.whys) < KEPT_WHYS else None
                    why = self.whys.setdefault((reason.code, field), Why(0, rejection.place))
                why.count += 1


def _shortened(rejection: Rejection) -> Rejection:
    """The rejection without the rest of what is too long to be kept in memory."""
    with suppress(TypeError):  # not all cells are text
        cells = "".join([*rejection.cells, *rejection.cells.values()])  # type: ignore[list-item]
        if len(cells) + sum(len(str(reason.value)) for reason in rejection.reasons) <= KEPT_TEXT:
            return rejection
    values: dict[str, object] = {}
    length = 0
    for name, value in rejection.cells.items():
        values[str(_short(name))] = kept = _short(value)
        length += len(name[:KEPT_TEXT]) + len(str(kept))
        if length > KEPT_ROW:
            break
    reasons = tuple(evolve(reason, value=_short(reason.value)) for reason in rejection.reasons)
    return evolve(rejection, values=values, reasons=reasons)


def _short(value: object) -> object:
    if isinstance(value, int | float | None):
        return value
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= KEPT_TEXT else f"{text[:KEPT_TEXT]}... ({len(text):,} characters)"


@define
class Report:
    """What became of every record of a run.

    `allowed` says that the rejects are within a limit the user gave, `verify` that what is stored was looked through:
    sound records are unchanged, faulty ones rejected; `atomic` that all datasets were to be stored, or none. An
    `Observer`: call it with each event.
    """

    tallies: dict[str, Tally]
    check: bool = False
    allowed: bool = False
    verify: bool = False
    atomic: bool = False
    started: datetime = field(factory=lambda: datetime.now(UTC))
    outputs: list[OutputError] = Factory(list)
    """What could not be written of the result and the rejects."""
    _clock: float = field(factory=monotonic)

    @classmethod
    def of(
        cls,
        tallies: Iterable[Tally],
        check: bool = False,
        allowed: bool = False,
        verify: bool = False,
        atomic: bool = False,
    ) -> "Report":
        return cls({tally.name: tally for tally in tallies}, check, allowed, verify, atomic)

    def __call__(self, event: Event) -> None:
        self.tallies[event.dataset].fold(event)

    @property
    def seconds(self) -> float:
        """How long ago the run began."""
        return monotonic() - self._clock

    @property
    def totals(self) -> Counts:
        return sum((tally.counts for tally in self.tallies.values()), Counts())

    @property
    def status(self) -> RunStatus:
        ends = {tally.status for tally in self.tallies.values()}
        if ends & {None, "interrupted"}:
            return "interrupted"
        if ends & {"failed", "stopped"} or self.outputs:
            return "failed"
        return "rejects" if self.totals.rejected else "complete"

    @property
    def exit_code(self) -> int:
        """The exit code that the run deserves; an interrupted one's is up to the signal (130 is that of Ctrl-C)."""
        match self.status:
            case "complete":
                return 0
            case "rejects":
                return 0 if self.allowed else 1
            case "failed":
                return 3
            case "interrupted":
                return 130
