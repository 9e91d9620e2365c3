"""A verification in which one thing is broken does not pass for a sound one: each mutant tells something else."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import SAMPLE, environment, result
from tests.test_verifying import BARE, leave_a_log, scribble, sql
from tests.torture import new_place, some, warm
from tests.torture.mutants import MUTANTS
from tests.torture.sharing import share


@pytest.fixture(scope="module")
def places() -> Iterator[Path]:
    """Directories with the databases of the sample, spoilt in several ways."""
    with new_place() as directory:
        shutil.copytree(SAMPLE, directory / "data")
        load = ("-qq", "--into", "sound", "--rejects", "none", "--export", "none")
        warm.run("loader", *load, env=environment(), timeout=60, cwd=directory)
        for name in ("records", "page", "twice", "log"):
            shutil.copytree(directory / "sound", directory / name)
        sql(
            directory / "records/users.db", "DELETE FROM users WHERE id = 2", "UPDATE users SET name = ' ' WHERE id = 3"
        )
        sql(directory / "records/products.db", "UPDATE products SET price = 'abc' WHERE id = 1")
        scribble(directory / "page/users.db", 3 * 4096 - 40)
        sql(directory / "twice/users.db", *BARE["users"], "INSERT INTO users VALUES (50, 'B', 'BOB@example.com')")
        leave_a_log(directory / "log/users.db", "INSERT INTO users VALUES (60, 'L', 'l@x.io')")
        yield directory


def told(program: Sequence[str], places: Path) -> list[Any]:
    """What a verification says of each place, and what it leaves there."""

    def of(place: str) -> list[Any]:
        export = places / f"{place}.json"
        arguments = [*program, "--verify", "-qq", "--export", str(export)]
        done = warm.run(*arguments, env=environment(), timeout=60, cwd=places / place)
        kept = ("name", "read", "unchanged", "rejected", "status", "rejections")
        told = [{name: each[name] for name in kept} for each in result(export)["datasets"]]
        return [(done.returncode, told), {path.name for path in (places / place).iterdir()}]

    return [*chain.from_iterable(share(of, ("sound", "records", "page", "twice", "log"), worth=1))]


@pytest.fixture(scope="module")
def real(places: Path) -> list[Any]:
    """What the verification says that is not broken."""
    with new_place() as directory:
        found = told(["loader"], Path(shutil.copytree(places, directory / "places")))
    assert [code for code, _ in found[::2]] == [0, 1, 3, 3, 0]
    return found


@pytest.mark.parametrize("name", some([name for name in MUTANTS if name.startswith("verify ")], 2))
def test_each_broken_verification_is_caught(name: str, places: Path, real: list[Any], tmp_path: Path) -> None:
    """What the mutant tells of these databases, or leaves beside them, is not what the real one does."""
    assert told(["tests.torture.mutants", name], Path(shutil.copytree(places, tmp_path / "places"))) != real
