"""What is told of the torture suite when it has been run: how much was tried."""

from statistics import median

import pytest

from tests.torture import SECONDS, TRIED


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
