"""The report on a screen: a live table on a terminal, plain lines elsewhere, and the summary at the end.

Nothing that is shown keeps a load from going on: a view that fails is given up.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import IO, Any, Literal

from attrs import asdict
from rich.box import Box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loader.core.events import Closed, Committed, Event, Opened, Rejected, Waits
from loader.core.records import Reason, Rejection
from loader.core.report import ENDS, Report, Tally

When = Literal["auto", "always", "never"]

FRAMES_A_SECOND = 8
LATEST = 5
FEW_REJECTS = 20
PLAIN_SECONDS = 3.0
_WIDTHS = range(20, 201)
_RULE = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
_ASCII_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


_PASSWORD = re.compile(r"(:/{1,2}[^\s/:@]*):\S*@")  # of a URL, which a path has with one slash


def safe(text: object) -> str:
    """Text from outside as it may be shown: whatever is not printable, or could command a terminal, is escaped.

    The password of a URL is left out.
    """
    text = _PASSWORD.sub(r"\1:***@", str(text))
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError, where rich would end the program."""
        raise


def console(stream: IO[str], color: When, live: When = "auto") -> Console:
    """A console that shows text as it stands, of a sensible width, with colours if they are wanted."""
    made = _Console(
        file=stream,
        force_terminal=True if "always" in (color, live) else None,
        no_color=True if color == "never" else None,
        color_system=None if color == "never" else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
    if made.width not in _WIDTHS:
        made.width = min(max(made.width, _WIDTHS.start), _WIDTHS.stop - 1)
    return made


class LiveView:
    """An observer that draws the report several times a second while it is `running`; then the drawing is gone."""

    def __init__(self, report: Report, on: Console) -> None:
        self._report, self._console = report, on
        self._latest: deque[tuple[str, Rejection]] = deque(maxlen=LATEST)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Rejected):
            self._latest.extend((event.dataset, each) for each in event.rejections[-LATEST:])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        ticker = asyncio.create_task(self._tick(live))
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)

    def show_cursor(self) -> None:
        """Give back the cursor, where there is no time to do it in order."""
        with suppress(Exception):
            self._console.show_cursor()

    async def _tick(self, live: Live) -> None:
        with suppress(Exception), live:
            while True:
                live.update(self.frame(), refresh=True)
                await asyncio.sleep(1 / FRAMES_A_SECOND)

    def frame(self) -> RenderableType:
        """What is shown now."""
        rejected = self._report.totals.rejected
        if not rejected:
            return self._lanes()
        return Group(
            self._lanes(),
            Text(),
            Text(f"Latest {_rejects(self._report)} ({rejected:,} so far)", style="bold"),
            self._rejects(),
        )

    def _lanes(self) -> Table:
        on, width = self._console, self._console.width
        table = _table(on)
        table.expand = width >= NARROW
        _add_column(table, on, "Dataset")
        if width >= NARROW:
            table.add_column("Progress", ratio=2, min_width=8)
        for end in ("read", *self._ends()):
            _add_column(table, on, _called(end, self._report).capitalize(), justify="right")
        if width >= NARROW:
            _add_column(table, on, "Rows/s    Left", justify="right", min_width=15)
        if width >= WIDE:
            _add_column(table, on, _way_of(self._report, on), ratio=3)
        for tally in self._report.tallies.values():
            table.add_row(*self._lane(tally))
        return table

    def _ends(self) -> list[str]:
        """The ends of records that there is room for."""
        width, updated = self._console.width, self._report.totals.updated
        more = {"updated": width >= NARROW and updated, "unchanged": width >= WIDE}
        return [end for end in ENDS if end in _always(self._report) or more.get(end)]

    def _lane(self, tally: Tally) -> Iterator[RenderableType]:
        counts, width = tally.counts, self._console.width
        yield _name(tally, self._console)
        if width >= NARROW:
            size = tally.size or 1  # that of a pipe is not known
            done = size if tally.status == "complete" else min(tally.position, tally.size)
            yield ProgressBar(size, done, finished_style="green")
        for end in ("read", *self._ends()):
            yield Text(f"{getattr(counts, end):,}", style="red" if end == "rejected" and counts.rejected else "")
        if width >= NARROW:
            yield self._pace(tally)
        if width >= WIDE:
            yield Text(safe(_way(tally, self._console, os.path.basename)), style="dim")

    def _pace(self, tally: Tally) -> str:
        if tally.waits_for and not tally.status:
            return f"waits for {tally.waits_for}"
        seconds = tally.seconds if tally.status else self._report.seconds
        rate = _short(tally.counts.read / seconds) if seconds else ""
        left = ""
        if tally.status:
            left = "done" if tally.status == "complete" else tally.status
        elif 0 < tally.position < tally.size:
            left = _clock((tally.size - tally.position) * seconds / tally.position)
        return f"{rate}  {left:>6}"

    def _rejects(self) -> Table:
        wide = self._console.width >= NARROW
        places = [safe(rejection.place).rpartition("/")[2] for _, rejection in self._latest]
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        _add_column(grid, self._console, width=min(max(map(len, places), default=0), self._console.width // 2))
        if wide:
            _add_column(grid, self._console, width=len("constraint-error"), style="yellow")
        _add_column(grid, self._console, ratio=1)
        for place, (_, rejection) in zip(places, self._latest, strict=True):
            first, *others = rejection.reasons
            text = f"{_field_and_message(first)}{f' (and {len(others)} more)' if others else ''}"
            grid.add_row(Text(place), *([first.code] if wide else []), Text(safe(text)))
        return grid


class PlainView:
    """Lines for where there is no terminal: what each dataset does, its counts now and then, and the first rejects."""

    def __init__(self, report: Report, on: Console) -> None:
        self._report, self._console = report, on
        self._rejects = 0
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        tally = self._report.tallies[event.dataset]
        match event:
            case Opened():
                self._last[event.dataset] = monotonic()
                sources = ", ".join(tally.sources)
                does = "looks through" if self._report.verify else f"loads {sources} into"
                self._say(f"{event.dataset}: {does} {tally.target}")
            case Waits(upstream=str(upstream)):
                self._say(f"{event.dataset}: waits for {upstream}")
            case Committed() if monotonic() - self._last[event.dataset] > PLAIN_SECONDS:
                self._last[event.dataset] = monotonic()
                self._say(f"{event.dataset}: {_counts(tally, self._report)}")
            case Rejected():
                left = FEW_REJECTS - self._rejects
                self._rejects += len(event.rejections)
                for rejection in event.rejections[: max(left, 0)]:
                    reasons = "; ".join(f"{each.code}  {_field_and_message(each)}" for each in rejection.reasons)
                    self._say(f"{rejection.place}  {reasons}")
                if 0 <= left < len(event.rejections):
                    self._say(f"further {_rejects(self._report)} are not shown here")
            case Closed():
                self._say(f"{event.dataset}: {event.status}, {_counts(tally, self._report)}")
            case _:
                pass

    def _say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody listens any more
            self._console.print(Text(safe(line)), soft_wrap=True)


def summary(report: Report, on: Console, with_rejects: bool = False) -> RenderableType:
    """The final counts, and why rows were rejected; `with_rejects` adds the rows themselves, if they are few."""
    parts: list[RenderableType] = [_final_table(report, on) if on.width >= NARROW else _final_lines(report, on)]
    if report.totals.rejected:
        parts += [Text(), _whys(report, on)]
    if with_rejects and 0 < report.totals.rejected <= FEW_REJECTS:
        parts += [Text(), _few_rejects(report)]
    for tally in report.tallies.values():
        if tally.problem:
            parts += [Text(), Text(safe(f"{tally.name} {tally.status}: {tally.problem.detail}"), style="red")]
    return Group(*parts)


def _final_table(report: Report, on: Console) -> Table:
    ends = ["read", *(end for end in ENDS if end in _always(report) or getattr(report.totals, end))]
    table = _table(on)
    _add_column(table, on, "Dataset")
    for name in (*ends, "seconds"):
        _add_column(table, on, _called(name, report).capitalize(), justify="right")
    if on.width >= WIDE:
        table.add_column(_way_of(report, on), overflow="fold")
    for tally in report.tallies.values():
        where = [Text(safe(_way(tally, on)), style="dim")] if on.width >= WIDE else []
        counts = [f"{getattr(tally.counts, end):,}" for end in ends]
        table.add_row(_name(tally, on), *counts, f"{tally.seconds:.2f}", *where)
    return table


def _final_lines(report: Report, on: Console) -> Table:
    lines = Table.grid(padding=(0, 2, 0, 0))
    for tally in report.tallies.values():
        lines.add_row(_name(tally, on), _counts(tally, report))
    return lines


def _few_rejects(report: Report) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for tally in report.tallies.values():
        for rejection in tally.rejections:
            for at, reason in enumerate(rejection.reasons):
                place = "" if at else safe(rejection.place)
                grid.add_row(Text(place, no_wrap=True), Text(safe(_field_and_message(reason))))
    return grid


def _whys(report: Report, on: Console) -> Table:
    table = _table(on)
    for name in (f"Why {_called('rejected', report)}", "Field"):
        table.add_column(name, overflow="fold")
    table.add_column("Count", justify="right", no_wrap=True)
    table.add_column("First", overflow="fold")
    for tally in report.tallies.values():
        for (code, field), why in tally.whys.items():
            whose = f"{tally.name}.{field}" if field else tally.name
            table.add_row(Text(code, style="yellow"), Text(safe(whose)), f"{why.count:,}", Text(safe(why.first)))
    return table


NARROW, WIDE = 70, 100
"""From how many columns on the table shows progress and pace, and where from and where to."""

_MARKS = {
    None: ("▸", ">"),
    "complete": ("✓", "+"),
    "failed": ("✗", "x"),
    "stopped": ("✗", "x"),
    "interrupted": ("‖", "!"),
}
_STYLES = {None: "", "complete": "green", "failed": "red", "stopped": "red", "interrupted": "yellow"}


def _table(on: Console) -> Table:
    box = _ASCII_RULE if on.options.ascii_only else _RULE
    padding = (0, 1 if on.width >= NARROW else 0, 0, 0)
    return Table(box=box, padding=padding, pad_edge=False, show_edge=False, header_style="bold")


def _add_column(table: Table, on: Console, name: str = "", **form: Any) -> None:
    """Add a column of one line each, cut where it is too long."""
    table.add_column(name, no_wrap=True, overflow="crop" if on.options.ascii_only else "ellipsis", **form)


def _name(tally: Tally, on: Console) -> Text:
    return Text(f"{_sign(on, *_MARKS[tally.status])} {tally.name}", style=_STYLES[tally.status])


def _sign(on: Console, fine: str, plain: str) -> str:
    return plain if on.options.ascii_only else fine


def _always(report: Report) -> tuple[str, str]:
    """The ends that are told even of no record."""
    return ("unchanged", "rejected") if report.verify else ("inserted", "rejected")


def _called(end: str, report: Report) -> str:
    """What an end is called; a stored record that is looked through is sound or faulty."""
    return {"unchanged": "sound", "rejected": "faulty"}.get(end, end) if report.verify else end


def _rejects(report: Report) -> str:
    return "faulty records" if report.verify else "rejects"


def _way_of(report: Report, on: Console) -> str:
    return "Database" if report.verify else f"Source {_sign(on, '→', '->')} target"


def _way(tally: Tally, on: Console, called: Callable[[str], str] = str) -> str:
    """Where a dataset comes from, if that is known, and where it is kept."""
    sources = ", ".join(map(called, tally.sources))
    return f"{sources} {_sign(on, '→', '->')} {called(tally.target)}" if sources else called(tally.target)


def _field_and_message(reason: Reason) -> str:
    return f"{reason.field}: {reason.message}" if reason.field else reason.message


def _counts(tally: Tally, report: Report) -> str:
    counts = asdict(tally.counts).items()
    told = [(count, name) for name, count in counts if count or name in ("read", *_always(report))]
    return ", ".join(f"{count:,} {_called(name, report)}" for count, name in told)


def _short(number: float) -> str:
    return (
        f"{number:.0f}"
        if number < 1_000
        else f"{number / 1_000:.0f}k"
        if number < 1_000_000
        else f"{number / 1e6:.1f}M"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
