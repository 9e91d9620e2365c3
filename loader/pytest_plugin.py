"""Fixtures for pytest: a directory of data, loaded into databases of a test's own.

pytest imports this whenever it starts, in any project: what a load needs is imported when a fixture is used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loader import Dataset, Report

Databases = dict[str, Path]

_SHOWN = 20
"""How many rejects a test names that fails."""


@pytest.fixture
def load_databases(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Databases]:
    """A function that loads a directory into databases in tmp_path, and returns their paths by dataset.

    `data` is the directory, as seen from the rootdir; `datasets` are by default the `models` of [tool.loader] there, or
    else the sample's: those are loaded whose file is there. Options are those of `loader.run`.
    The test fails with the rejects if a record is rejected, or with the problem if there is one.
    """

    def load(data: Path | str = "data", datasets: "Sequence[Dataset] | None" = None, **options: Any) -> Databases:
        return _load(request.config.rootpath, data, datasets, tmp_path, options)

    return load


@pytest.fixture
def loaded_databases(load_databases: Callable[..., Databases]) -> Databases:
    """The paths of the databases that the directory `data` is loaded into, by dataset: see load_databases."""
    return load_databases()


def _load(
    root: Path, data: Path | str, datasets: "Sequence[Dataset] | None", into: Path, options: Mapping[str, Any]
) -> Databases:
    from concurrent.futures import ThreadPoolExecutor

    from loader import Job, SqliteTarget, run
    from loader.core.errors import UsageError
    from loader.models import find_datasets, from_here
    from loader.settings import gather
    from loader.sources import find_source

    directory = from_here(root / data)
    try:
        if datasets is None:
            settings = gather({"names": []}, {}, from_here(root / "pyproject.toml"))
            datasets = find_datasets(settings["models"], root)
        sources = {each.name: find_source(directory, each.name) for each in datasets}
        if not any(sources.values()):
            raise UsageError(f"{directory} holds no file of {', '.join(sources)}")
        databases = {each.name: into / f"{each.database}.db" for each in datasets}
        found = {name: [source] if source else [] for name, source in sources.items()}
        jobs = [Job(each, found[each.name], SqliteTarget(databases[each.name])) for each in datasets]
        with ThreadPoolExecutor(1) as thread:  # the test may itself run in an event loop
            report = thread.submit(run, jobs, **options).result()
    except UsageError as error:
        raise _failure([str(error)]) from None
    if report.exit_code:
        raise _failure(_faults(report))
    return {name: databases[name] for name in report.tallies}


def _faults(report: "Report") -> Iterator[str]:
    """What keeps a report from being a success, a line each."""
    for tally in report.tallies.values():
        if tally.problem:
            yield f"{tally.name}: {tally.problem.detail}"
    if report.totals.rejected:
        yield f"{report.totals.rejected:,} of {report.totals.read:,} records were rejected:"
    rejections = [each for tally in report.tallies.values() for each in tally.rejections]
    for each in rejections[:_SHOWN]:
        yield f"{each.place}: {'; '.join(map(str, each.reasons))}"
    if (more := report.totals.rejected - _SHOWN) > 0:
        yield f"and {more:,} more"


def _failure(lines: Iterable[str]) -> BaseException:
    """What `pytest.fail` raises, so that it can be raised without what went before it."""
    from loader.view import safe

    return pytest.fail.Exception("\n".join(map(safe, lines)), pytrace=False)
