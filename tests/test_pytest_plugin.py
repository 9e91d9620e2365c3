"""The fixtures that others test with, each tried in a pytest of its own."""

import json
import subprocess
import sys

import pytest

from loader.starter import write_starter
from tests.test_cli import ROOT, SAMPLE, environment

pytest_plugins = "pytester"

PLUGIN = ("-p", "loader.pytest_plugin")

SHOP = """
import attrs, loader

@attrs.define
class Thing:
    id: int

THINGS = loader.Dataset(name="things", model=Thing, key="id")
"""


@pytest.fixture(autouse=True)
def _place(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Find this very loader in a process of its own, and no option of this run."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def outcome(pytester: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    """What pytest says of a test, run in a process of its own."""
    pytester.makepyfile(test)
    return pytester.runpytest_subprocess(*PLUGIN, "-W", "error", *arguments)


def sample(pytester: pytest.Pytester) -> None:
    """The sample without its rejects."""
    for name in ("users", "products", "orders"):
        lines = (SAMPLE / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        write(pytester, f"data/{name}.csv", "".join(lines[:6]))


def write(pytester: pytest.Pytester, name: str, text: str) -> None:
    file = pytester.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_the_sample_is_loaded_by_default(pytester: pytest.Pytester) -> None:
    """Without models the directory `data` is taken for the sample; the databases are the test's own."""
    sample(pytester)
    result = outcome(
        pytester,
        """
        import sqlite3
        from contextlib import closing

        def test_it(loaded_databases, load_databases, tmp_path):
            assert loaded_databases == {name: tmp_path / f"{name}.db" for name in ("users", "products", "orders")}
            with closing(sqlite3.connect(loaded_databases["orders"])) as orders:
                assert orders.execute("SELECT count(*) FROM orders").fetchone() == (5,)
            assert load_databases() == loaded_databases
        """,
    )
    result.assert_outcomes(passed=1)
    assert not list(pytester.path.glob("*.db"))


def test_the_models_of_the_project_are_the_default(pytester: pytest.Pytester) -> None:
    """`models` in [tool.loader] says what is loaded, seen from the rootdir, wherever pytest is called."""
    sample(pytester)
    pytester.makepyfile(shop=SHOP)
    pytester.makepyprojecttoml('[tool.loader]\nmodels = "shop.py"\n[tool.pytest.ini_options]\n')
    write(pytester, "data/things.csv", "id\n1\n")
    pytester.mkdir("sub")
    pytester.makepyfile(**{"sub/test_it": "def test_it(loaded_databases): assert list(loaded_databases) == ['things']"})
    pytester.runpytest_subprocess(*PLUGIN, "-W", "error").assert_outcomes(passed=1)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN], cwd=pytester.path / "sub", env=environment(), timeout=60, check=False
    )
    assert done.returncode == 0


def test_datasets_and_options_can_be_given(pytester: pytest.Pytester) -> None:
    """Another directory, other datasets, and the options of a load; only datasets whose file is there are loaded."""
    sample(pytester)
    pytester.makepyfile(shop=SHOP)
    write(pytester, "more/things.ndjson", '{"id": 1, "more": 2}\n')
    result = outcome(
        pytester,
        """
        from pathlib import Path
        from loader import RejectLimit
        from loader.datasets import DATASETS
        from shop import THINGS

        def test_it(load_databases, tmp_path):
            given = load_databases(Path("more"), [THINGS, *DATASETS], ignore_extra=True)
            assert given == {"things": tmp_path / "things.db"}
            (tmp_path / "users.csv").write_text("id,name,email\\n1,Al,al@x.io\\n2,,\\n")
            events = []
            assert load_databases(tmp_path, DATASETS, max_rejects=RejectLimit.parse("1"), observe=events.append)
            assert events
        """,
    )
    result.assert_outcomes(passed=1)


def test_it_works_where_an_event_loop_runs(pytester: pytest.Pytester) -> None:
    """A test that is a coroutine can load as well."""
    sample(pytester)
    result = outcome(
        pytester,
        """
        import asyncio

        def test_it(load_databases):
            async def test():
                return load_databases()
            assert len(asyncio.run(test())) == 3
        """,
    )
    result.assert_outcomes(passed=1)


def test_rejects_fail_the_test(pytester: pytest.Pytester) -> None:
    """Each reject is told in a line, and nothing of how loader works."""
    sample(pytester)
    write(pytester, "data/users.csv", "id,name,email\n1,Al,al@x.io\n2,,al@x.io\n")
    result = outcome(pytester, "def test_it(load_databases): load_databases()", "--tb=long")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "5 of 12 records were rejected:",
            "data/users.csv:3: constraint-error: name must have a value; unique-error: email 'al@x.io' is user 1's",
            "data/orders.csv:3: foreign-key: user_id no user 2: data/users.csv:3 was rejected *",
        ],
        consecutive=True,
    )
    assert "pytest_plugin.py" not in result.stdout.str()


def test_of_many_rejects_the_first_are_told(pytester: pytest.Pytester) -> None:
    """Twenty are named, and the others counted."""
    write(pytester, "data/users.csv", "id,name,email\n" + "x,Al,\n" * 1022)
    result = outcome(pytester, "def test_it(load_databases): load_databases()")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1,022 of 1,022 records were rejected:", "data/users.csv:2: *"], consecutive=True)
    result.stdout.fnmatch_lines(["data/users.csv:21: *", "and 1,002 more"], consecutive=True)


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("load_databases()", "data holds no file of users, products, orders"),
        ("load_databases('bad')", "users: bad/users.csv is empty*"),
        ("load_databases('two')", "two/users.csv and two/users.json are both there*"),
        (r"load_databases('\x1b[2J')", r"\x1b[[]2J holds no file of *"),
        ("load_databases('bad', [])", "bad holds no file of *"),
    ],
)
def test_problems_fail_the_test(pytester: pytest.Pytester, test: str, told: str) -> None:
    """What cannot be loaded is told in a line; what could command a terminal is shown escaped."""
    write(pytester, "bad/users.csv", "")
    write(pytester, "two/users.csv", "")
    write(pytester, "two/users.json", "")
    result = outcome(pytester, f"def test_it(load_databases): {test}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*_ test_it _*", told, "=* short test summary info =*"], consecutive=True)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('models = "nowhere.py"', "models: nowhere.py is not there, or is not a file"),
        ('model = "shop.py"', "pyproject.toml: [[]tool.loader] takes *"),
    ],
)
def test_wrong_models_fail_the_test(pytester: pytest.Pytester, table: str, told: str) -> None:
    """A configuration that is wrong is told in a line, in the fixture too."""
    pytester.makepyprojecttoml(f"[tool.loader]\n{table}\n[tool.pytest.ini_options]\n")
    result = outcome(pytester, "def test_it(loaded_databases): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*_ ERROR at setup of test_it _*", told], consecutive=True)


def test_the_starter_can_be_tested(pytester: pytest.Pytester) -> None:
    """What --init writes has the reject that it is to show, and works once that is mended."""
    write_starter(pytester.path)
    test = "def test_it(loaded_databases): assert set(loaded_databases) == {'authors', 'books'}"
    outcome(pytester, test).assert_outcomes(errors=1)
    books = pytester.path / "data/books.csv"
    books.write_text(books.read_text(encoding="utf-8").replace(",9,", ",2,"), encoding="utf-8")
    outcome(pytester, test).assert_outcomes(passed=1)


def test_those_who_do_not_use_it_do_not_pay(pytester: pytest.Pytester) -> None:
    """pytest's start imports two small modules; all else waits for a fixture to be used."""
    result = outcome(
        pytester,
        """
        import json, sys

        def test_it():
            names = [name for name in sys.modules if name.partition(".")[0] in ("loader", "attr", "asyncio", "rich")]
            print(json.dumps(sorted(names)))
        """,
        "-s",
        "-p",
        "no:asyncio",
    )
    result.assert_outcomes(passed=1)
    [line] = [line for line in result.outlines if "[" in line and "loader" in line and "plugins" not in line][:1]
    assert json.loads(line[line.index("[") : line.index("]") + 1]) == ["loader", "loader.pytest_plugin"]


def test_the_fixtures_are_told_of(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures` says what they are for."""
    result = pytester.runpytest_subprocess(*PLUGIN, "--fixtures")
    result.stdout.fnmatch_lines(["load_databases -- *", "*A function that loads a directory into databases*"])
    result.stdout.fnmatch_lines(["loaded_databases -- *"])
