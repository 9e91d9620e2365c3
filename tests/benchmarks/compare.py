"""Load the same files with loader and with its peers, in turn, and compare medians.

python tests/benchmarks/compare.py big --runs 5 --stages

Each contender runs in a process of its own, in a new directory; wall and CPU seconds and the peak of its memory are
those of all its processes. The peers check nothing but what their tables' constraints say: no reference, no format.
If there is a directory `ndjson` beside the CSV files, loader also loads what is in it. With `--stages` it is also told
where loader's time goes.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Self

from attrs import frozen

NAMES = ("users", "products", "orders")
TABLES = {
    "users": "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " email TEXT NOT NULL UNIQUE COLLATE NOCASE)",
    "products": "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price NUMERIC NOT NULL)",
    "orders": "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, product_id INTEGER NOT NULL,"
    " quantity INTEGER NOT NULL)",
}
PANDAS = """
import sqlite3, sys
import pandas
for name in ("users", "products", "orders"):
    with sqlite3.connect(f"{name}.db") as connection:
        pandas.read_csv(f"{sys.argv[1]}/{name}.csv").to_sql(name, connection, index=False)
"""
ROW_BY_ROW = """
import asyncio, csv, sys
import aiosqlite
async def load(name):
    async with aiosqlite.connect(f"{name}.db") as connection:
        with open(f"{sys.argv[1]}/{name}.csv", newline="") as file:
            rows = csv.reader(file)
            columns = next(rows)
            await connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            for row in rows:
                await connection.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
        await connection.commit()
async def main():
    await asyncio.gather(*map(load, ("users", "products", "orders")))
asyncio.run(main())
"""


def _shell(data: Path, name: str) -> str:
    file = f"{data}/{name}.csv"
    return f"""sqlite3 {name}.db "{TABLES[name]}" ".mode csv" ".import --skip 1 '{file}' {name}" 2>/dev/null"""


def _loader(data: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "loader", "-qq", "--data", str(data), "--max-rejects", "100%", *options]


@frozen
class Contender:
    """What takes part: its command for a directory of data, what that needs, and how many rows it is spared beyond."""

    command: Callable[[Path], Sequence[str]]
    needs: Callable[[Path], bool] = lambda data: True
    most_rows: int = 10**9
    is_again: bool = False  # whether what is measured is the second run in a directory


def _has(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


CONTENDERS = {
    "loader": Contender(_loader),
    "loader, a second time": Contender(_loader, is_again=True),
    "loader, NDJSON": Contender(
        lambda data: _loader(data / "ndjson"), lambda data: (data / "ndjson" / "orders.ndjson").is_file()
    ),
    "loader --jobs 0": Contender(lambda data: _loader(data, "--jobs", "0")),
    "sqlite3, one after the other": Contender(
        lambda data: ["bash", "-c", "; ".join(_shell(data, name) for name in NAMES)],
        lambda data: bool(shutil.which("sqlite3")),
    ),
    "sqlite3, three at once": Contender(
        lambda data: ["bash", "-c", " & ".join(_shell(data, name) for name in NAMES) + "; wait"],
        lambda data: bool(shutil.which("sqlite3")),
    ),
    "pandas to_sql": Contender(lambda data: [sys.executable, "-c", PANDAS, str(data)], lambda data: _has("pandas")),
    "sqlite-utils": Contender(
        lambda data: [
            "bash",
            "-c",
            "; ".join(f"sqlite-utils insert {name}.db {name} '{data}/{name}.csv' --csv --silent" for name in NAMES),
        ],
        lambda data: bool(shutil.which("sqlite-utils")),
        most_rows=400_000,
    ),
    "aiosqlite, row by row": Contender(lambda data: [sys.executable, "-c", ROW_BY_ROW, str(data)], most_rows=400_000),
}


@frozen
class Run:
    """What one run took: seconds by the clock and of all cores, and the peak of memory in megabytes."""

    wall: float
    cpu: float
    memory: float


def _environment() -> dict[str, str]:
    """Where loader is this one, and is compiled once, as what is installed is."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}


def run(command: Sequence[str], is_again: bool = False) -> Run:
    """Run a command in a new directory; SystemExit if it fails, where 1 is loader's word for rejects."""
    environment = _environment()
    with tempfile.TemporaryDirectory() as directory:
        if is_again:
            subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=False)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        child = subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL)
        with _Peak(child.pid) as peak:
            code = child.wait()
        wall = time.monotonic() - began
    if code not in (0, 1):
        raise SystemExit(f"{command[:4]} ended with {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, peak.most / 1024)


class _Peak:
    """Watches how much memory a process and its descendants have to themselves, or share (PSS), all together."""

    def __init__(self, pid: int) -> None:
        self.most = 0  # kilobytes
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, sum(map(_memory, _family(self._pid))))


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _family(int(child)))]


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def count_rows(data: Path) -> int:
    return sum((data / f"{name}.csv").read_bytes().count(b"\n") - 1 for name in NAMES)


def compare(data: Path, runs: int) -> None:
    """Let all take turns, and print a table in Markdown: medians, and ratios to the sqlite3 shell."""
    rows = count_rows(data)
    taking_part = {name: one for name, one in CONTENDERS.items() if rows <= one.most_rows and one.needs(data)}
    found: dict[str, list[Run]] = {name: [] for name in taking_part}
    for _ in range(runs):
        for name, one in taking_part.items():
            found[name].append(run(one.command(data.resolve()), one.is_again))
    shell = median(each.wall for each in found.get("sqlite3, one after the other") or found["loader"])
    print(f"{rows:,} rows, medians of {runs}\n")
    print("| | wall | times sqlite3 | rows/s | CPU | memory |\n|---|---|---|---|---|---|")
    for name, each in found.items():
        wall, cpu, memory = (median(getattr(one, part) for one in each) for part in ("wall", "cpu", "memory"))
        print(f"| {name} | {wall:.2f} s | {wall / shell:.2f} | {rows / wall:,.0f} | {cpu:.2f} s | {memory:.0f} MB |")


STAGES = """
import os, resource, sys, threading, time
from loader.cli import main
spent = {}
def look():
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    for task in os.listdir("/proc/self/task"):
        name = names.get(int(task), "") if task != str(os.getpid()) else "event loop: judging, telling"
        kinds = {"connection": "SQLite", "event": name, "Queue": "sending blocks", "source": ""}
        kind = next((kind for word, kind in kinds.items() if word in name), "receiving batches" if name else "")
        try:
            fields = open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        if kind:
            spent[task] = kind, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
def watch():
    while True:
        look()
        time.sleep(0.01)
look()
began = sum(seconds for _, seconds in spent.values())
threading.Thread(target=watch, daemon=True, name="").start()
main(sys.argv[1:])
look()
totals = {"parsing (its processes)": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), "Python's start": began}
for kind, seconds in spent.values():
    totals[kind] = totals.get(kind, -began if kind.startswith("event") else 0) + seconds
totals["reading and cutting, and the rest"] = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - sum(
    seconds for _, seconds in spent.values()
)
for kind, seconds in sorted(totals.items(), key=lambda each: -each[1]):
    print(f"{kind}: {seconds:.2f} s")
"""


def stages(data: Path, rows: int) -> None:
    """Print what loader's CPU time is spent on, and how much of it a row takes."""
    command = [sys.executable, "-c", STAGES, *_loader(data.resolve())[3:]]
    environment = _environment()
    with tempfile.TemporaryDirectory() as directory:
        told = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)
    print("\n| stage | CPU | a row |\n|---|---|---|")
    for line in told.stdout.splitlines():
        kind, _, seconds = line.rpartition(": ")
        print(f"| {kind} | {seconds} | {float(seconds.removesuffix(' s')) / rows * 1e6:.2f} µs |")


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command_line.add_argument("data", type=Path, help="a directory that generate.py has filled, as CSV")
    command_line.add_argument("--runs", type=int, default=5)
    command_line.add_argument("--stages", action="store_true")
    given = command_line.parse_args()
    compare(given.data, given.runs)
    if given.stages:
        stages(given.data, count_rows(given.data))
