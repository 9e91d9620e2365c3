"""Make the picture of the live view in the README, from a real load of generated files.

python tests/benchmarks/picture.py
"""

import io
import tempfile
from pathlib import Path

from rich.console import Console

import loader
from loader.datasets import DATASETS
from loader.pipeline import new_report
from loader.view import LiveView
from tests.benchmarks.generate import generate

PICTURE = Path(__file__).with_name("live.svg")
MOMENT = 400_000
"""So many bytes of the users were read when the picture is taken."""


def main() -> None:
    screen = Console(width=100, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        generate(data, 20_000, 4_000, 40_000, faults=0.01, seed=7, form="csv")
        jobs = [
            loader.Job(each, [loader.FileSource(data / f"{each.name}.csv", "csv", 2**14)], _target(data, each.name))
            for each in DATASETS
        ]
        report = new_report(jobs)
        view = LiveView(report, screen)

        def observe(event: loader.Event) -> None:
            report(event)
            view(event)
            if (
                isinstance(event, loader.Committed)
                and report.tallies["users"].position > MOMENT
                and not PICTURE.exists()
            ):
                screen.print(view.frame())
                screen.save_svg(str(PICTURE), title="python -m loader")

        PICTURE.unlink(missing_ok=True)
        loader.run(jobs, observe=observe)


def _target(directory: Path, name: str) -> loader.SqliteTarget:
    return loader.SqliteTarget(directory / f"{name}.db")


if __name__ == "__main__":
    main()
