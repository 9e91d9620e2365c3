"""All or none: what is told of the datasets of a load is held back till all of them are stored, or none can be."""

from collections import defaultdict
from time import monotonic

from attrs import define, evolve, field

from loader.core.errors import LoaderError, RejectLimitError, TogetherError
from loader.core.events import Closed, Committed, Event, Observer, Status, Untried
from loader.core.report import Counts, Report


@define
class Withheld:
    """An observer that tells on what is true already, and holds back what is not before all datasets are stored.

    That is what the lanes have committed, which is only kept apart, and how they ended. `report` is that of the load.
    """

    report: Report
    _tell: Observer
    _kept: dict[str, Counts] = field(factory=lambda: defaultdict(Counts), init=False)
    _ends: dict[str, tuple[Closed, float]] = field(factory=dict, init=False)

    def __call__(self, event: Event) -> None:
        match event:
            case Committed():
                self._kept[event.dataset] += Counts(inserted=event.inserted, updated=event.updated)
                self._tell(evolve(event, inserted=0, updated=0))
            case Closed():
                self._ends[event.dataset] = event, monotonic()
            case _:
                self._tell(event)

    def is_storable(self) -> bool:
        """Whether all datasets have come to their ends, and none of them has rejects that are not allowed."""
        return self._statuses() == {"complete"} and (self.report.allowed or not self.report.totals.rejected)

    def release(self, is_stored: bool, problem: LoaderError | None = None, at: str = "") -> None:
        """Tell what was held back, as it has turned out.

        `problem` is what kept all from being stored when it could have been, `at` the name of a database.
        """
        for name in self.report.tallies:
            kept = self._kept[name]
            if is_stored:
                self._tell(Committed(name, kept.inserted, kept.updated, 0))
            elif kept.inserted or kept.updated:
                self._tell(Untried(name, kept.inserted + kept.updated))
        for name, (end, since) in self._ends.items():
            if end.status == "complete" and not is_stored:
                status, why = self._obstacle(name, problem, at)
                end = evolve(end, status=status, problem=why)
            self._tell(evolve(end, seconds=end.seconds + monotonic() - since))

    def _statuses(self) -> set[Status | None]:
        return {self._ends[name][0].status if name in self._ends else None for name in self.report.tallies}

    def _obstacle(self, name: str, problem: LoaderError | None, at: str) -> tuple[Status, LoaderError | None]:
        """Why a dataset that came to its end is not stored."""
        tallies = self.report.tallies
        if problem and name == next(name for name, tally in tallies.items() if tally.target == at):
            return "failed", problem
        if (rejected := tallies[name].counts.rejected) and not self.report.allowed:
            return "failed", RejectLimitError(
                f"{rejected} {name} were rejected, so nothing is stored: mend them, or allow for them with "
                f"max-rejects, and run again"
            )
        if not problem and (self.is_storable() or self._statuses() & {None, "interrupted"}):
            return "interrupted", None
        return "stopped", TogetherError(
            f"nothing of {name} is stored, as not all of the load can be: mend that and run again"
        )
