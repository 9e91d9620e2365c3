"""Mutants of loader, each of which breaks a law: the checks of the property tests catch every one of them."""

import asyncio
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from loader.core import judging
from loader.pipeline import _Lane
from tests.laws import (
    SAMPLE,
    Content,
    Draft,
    Schedule,
    Setting,
    Trial,
    carry_out,
    check_all,
    check_conservation,
    check_every_reason,
    check_first_wins,
    check_no_dangling,
    check_serial,
    count,
    expected,
    write,
)
from tests.torture.mutants import MUTANTS as MUTANTS_OF_TORTURE

CONTENT = Content(
    {
        "users": [
            Draft(("1", "Ann", "ann@x.io")),
            Draft(("2", "Ben", "ben@x.io")),
            Draft(("1", "Cid", "cid@x.io")),  # claims Ann's key
        ],
        "products": [Draft(("1", "Desk", "99.50"))],
        "orders": [
            Draft(("1", "1", "1", "2")),
            Draft(("2", "2", "1", "1")),
            Draft(("3", "9", "1", "0")),  # no such user, and a quantity that is not allowed
        ],
    },
    {"users": "csv", "products": "csv", "orders": "csv"},
)


class SlowUsers(Schedule):
    """The first users are committed only when an order is, or when orders that do not wait for users had time to be."""

    def __init__(self, databases: Path) -> None:
        super().__init__()
        self._databases = databases
        self._tries = 100

    async def hold(self, name: str) -> None:
        while name == "users" and self._tries and not count(self._databases, SAMPLE["orders"]):
            self._tries -= 1
            await asyncio.sleep(0.01)


@frozen
class Mutant:
    """A function of loader, what to replace in its source by what, and the check that is to find it out."""

    name: str
    owner: Any
    function: str
    edits: tuple[tuple[str, str], ...]
    check: Callable[[Trial], None]
    block_size: int = 2**18

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Put the function, edited, in the place of the real one, wherever that was imported."""
        function = getattr(self.owner, self.function)
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in self.edits:
            assert source.count(old) == 1, f"{self.function} has changed: {old!r} is to be found in it once"
            source = source.replace(old, new)
        found: dict[str, Any] = {}
        exec(compile(source, f"<{self.name}>", "exec"), function.__globals__, found)
        for owner in (self.owner, inspect.getmodule(_Lane)):
            if getattr(owner, self.function, None) is function:
                patch.setattr(owner, self.function, found[self.function])


_FREE = "        held = await table.insert_free(free)\n"
_INSERT = "            await table.insert(Records.of(verdict.inserts))\n"
_TELL = "        self._tell(Committed(dataset.name, len(free) - len(held) + len(verdict.inserts), 0, 0))\n"

MUTANTS = [
    Mutant(
        "a key is announced before the COMMIT",
        _Lane,
        "_stored",
        ((_FREE, f"        self._ledger.add(parsed.keys)\n{_FREE}"),),
        check_no_dangling,
        block_size=1,
    ),
    Mutant(
        "the last row wins",
        judging,
        "_rows",
        (('attrgetter("line")', "lambda row: -row.line"),),
        check_first_wins,
    ),
    Mutant(
        "records are counted before the COMMIT",
        _Lane,
        "_stored",
        ((_INSERT, f"{_INSERT}{_TELL}"), ("inserted + len(verdict.inserts),", "0,")),
        check_conservation,
    ),
    Mutant(
        "the second reason of a row is dropped",
        judging,
        "judge",
        (("row.key, reasons)", "row.key, reasons[:1])"),),
        lambda trial: check_every_reason(trial, expected(trial)),
    ),
    Mutant(
        "references are checked once and never again",
        _Lane,
        "_missing",
        (("elif ledger.closed:", "elif True:"),),
        lambda trial: check_serial(trial, expected(trial)),
        block_size=1,
    ),
]


def trial_with_slow_users(directory: Path, block_size: int) -> Trial:
    setting = Setting(block_size, late=False)
    setting.schedule = SlowUsers(directory / "db")
    return carry_out(write(directory / "files", CONTENT), directory / "db", setting)


@pytest.mark.parametrize("block_size", sorted({mutant.block_size for mutant in MUTANTS}))
def test_the_real_loader_passes_where_the_mutants_fail(block_size: int, tmp_path: Path) -> None:
    """On the example of the mutants the loader keeps every law."""
    trial = trial_with_slow_users(tmp_path, block_size)
    check_all(trial, expected(trial))
    for mutant in MUTANTS:
        mutant.check(trial)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the law that a mutant breaks fails."""
    mutant.apply(monkeypatch)
    trial = trial_with_slow_users(tmp_path, mutant.block_size)
    with pytest.raises(AssertionError):
        mutant.check(trial)


def test_each_mutant_of_the_torture_suite_is_one_still() -> None:
    """What it takes out of a function stands there, though not each of them is tried every time."""
    for mutant in MUTANTS_OF_TORTURE.values():
        mutant.edited()
