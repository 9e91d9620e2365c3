"""The comparison with peers runs them all on the same files, and measures what it says."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.compare import CONTENDERS, compare, run, stages
from tests.benchmarks.generate import generate


def test_all_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever is installed loads the files as often as asked for, and has a line in the table."""
    generate(tmp_path, 30, 10, 60, faults=0.1, seed=1, form="csv")
    generate(tmp_path / "ndjson", 30, 10, 60, faults=0.1, seed=1, form="ndjson")
    compare(tmp_path, runs=2)
    shown = capsys.readouterr().out
    assert shown.startswith("100 rows, medians of 2\n")
    for name, contender in CONTENDERS.items():
        assert (f"| {name} |" in shown) == contender.needs(tmp_path)


def test_memory_is_that_of_all_processes() -> None:
    """A process that has another one take memory is charged with it."""
    child = "x = bytearray(80_000_000); import time; time.sleep(0.6)"
    took = run([sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"])
    assert took.memory > 80
    assert took.wall > 0.6


def test_a_peer_that_fails_ends_the_comparison() -> None:
    """A run that broke down is not counted as a quick one."""
    with pytest.raises(SystemExit, match="ended with 7"):
        run([sys.executable, "-c", "raise SystemExit(7)"])


def test_it_is_told_where_the_time_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each stage has a line, also the parsing in other processes."""
    generate(tmp_path, 200_000, 10, 400_000, faults=0.0, seed=1, form="csv")
    stages(tmp_path, 600_010)
    shown = capsys.readouterr().out
    for kind in ("parsing (its processes)", "SQLite", "event loop: judging, telling", "Python's start"):
        assert f"| {kind} | " in shown
