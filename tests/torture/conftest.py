"""What the torture suite has for all of its tests, and what is told when it has been run: how much was tried."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.torture import SECONDS, TRIED, new_place
from tests.torture.ends import files

__all__ = ["files"]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory in memory, if there is room: none of these tests waits for a disk."""
    with new_place() as directory:
        yield directory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Wait for the fuzzers after all else, for they are at work meanwhile."""
    items.sort(key=lambda item: "test_atheris_finds_nothing" in item.name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the figures, which each test has added to as it tried something."""
    if TRIED:
        terminalreporter.section("tried")
        for kind, number in TRIED.items():
            terminalreporter.write_line(f"{number:>9,} {kind}")
    if SECONDS:
        slowest = ", ".join(f"{each:.2f}" for each in sorted(SECONDS)[-5:])
        terminalreporter.write_line(
            f"{median(SECONDS):9.2f} s from a signal to the end in the median; at most {slowest}"
        )
