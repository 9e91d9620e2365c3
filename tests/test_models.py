"""Datasets of one's own: where they are found, and what is said where they are not."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from loader.cli import main
from loader.core.errors import DeclarationError, UsageError
from loader.datasets import DATASETS, ORDERS, PRODUCTS, USERS
from loader.models import find_datasets
from tests.test_cli import ROOT, environment, left, result, rows, write

SHOP = """\
from attrs import define

from loader import Dataset


@define
class Thing:
    id: int
    name: str


THINGS = Dataset(name="things", model=Thing, key="id")
"""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty directory, and forget afterwards what was imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def names(models: str, directory: Path | str = ".") -> list[str]:
    return [dataset.name for dataset in find_datasets(models, Path(directory))]


def shop(path: str = "shop.py", *more: str) -> Path:
    return write(path, SHOP, *more)


def run(script: str, *arguments: str) -> str:
    """Run a script that does not find what is in the working directory by itself, like the installed command."""
    python = [sys.executable, "-P", "-W", "error", "-c", script, *arguments]
    return subprocess.run(python, env=environment(), capture_output=True, timeout=60, check=True, text=True).stdout


def test_without_models_it_is_the_sample() -> None:
    """Users, products and orders are the default."""
    assert find_datasets(None, Path()) == DATASETS


def test_each_dataset_is_found_once_in_order() -> None:
    """All module-level names count, lists and tuples too; the order is that of the definitions."""
    more = [
        "from loader.datasets import PRODUCTS, USERS",
        "KINDS = [THINGS, USERS, 'more']",
        "OTHERS = (Dataset('b', Thing, 'id'), Dataset('a', Thing, 'id'))",
        "AGAIN, NUMBER, TEXT = THINGS, 7, 'users'",
    ]
    shop("shop.py", *more)
    assert names("shop.py") == ["things", "products", "users", "b", "a"]


@pytest.mark.parametrize(
    ("models", "path"),
    [
        ("shop.py", "shop.py"),
        ("my/shop.py", "my/shop.py"),
        ("shop", "shop.py"),
        ("shop", "shop/__init__.py"),
        ("my.shop", "my/shop.py"),
    ],
)
def test_files_and_modules_are_found_from_a_directory(models: str, path: str) -> None:
    """A file or a module is looked for from the directory that is given."""
    shop(f"project/{path}")
    assert names(models, "project") == ["things"]


def test_an_absolute_file_is_found(tmp_path: Path) -> None:
    """An absolute path stands for itself."""
    shop("project/shop.py")
    assert names(str(tmp_path / "project/shop.py"), "elsewhere") == ["things"]


def test_an_installed_module_is_found() -> None:
    """A module may be anywhere that Python looks."""
    assert set(find_datasets("loader.datasets", Path())) == {USERS, PRODUCTS, ORDERS}


@pytest.mark.parametrize("models", ["my/shop.py", "beside"])
def test_siblings_can_be_imported_by_any_command(models: str) -> None:
    """The directory of a file, and the working directory for a module, can be imported from; also when installed."""
    shop("my/things.py")
    write("my/shop.py", "from things import *")
    shop("things.py")
    write("beside.py", "from things import *")
    write("data/things.csv", "id,name", "1,Lamp")
    run("import sys; from loader.cli import main; sys.exit(main(sys.argv[1:]))", "-q", "--models", models)
    assert rows("things") == [(1, "Lamp")]


def test_a_file_is_a_module_that_other_processes_find() -> None:
    """The classes of a file can be pickled, and are found by a process that is started afresh."""
    shop("my/shop.py")
    script = (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from operator import attrgetter\n"
        "from pathlib import Path\n"
        "from loader.models import find_datasets\n"
        "[things] = find_datasets('my/shop.py', Path())\n"
        "with ProcessPoolExecutor(1, get_context('spawn')) as processes:\n"
        "    print(processes.submit(attrgetter('model.__module__', 'names'), things).result(50))\n"
    )
    assert run(script) == "('shop', ('id', 'name'))\n"


def test_the_command_line_loads_them(capsys: pytest.CaptureFixture[str]) -> None:
    """With --models its datasets are loaded, by default those whose file is there, and users are unknown."""
    shop()
    write("data/things.csv", "id,name", "1,Lamp", "x,Desk")
    write("data/users.csv", "id,name,email")
    assert main(["-q", "--models", "shop.py"]) == 1
    assert "load them: python -m loader --models shop.py --data rejects" in capsys.readouterr().out
    assert [each["name"] for each in result()["datasets"]] == ["things"]
    assert left() - {"__pycache__"} == {"shop.py", "things.db", "rejects", "result.json"}
    assert main(["-q", "--models", "shop.py", "users"]) == 2
    assert "there is no dataset 'users'; there are things" in capsys.readouterr().err


def test_the_configuration_can_name_them(capsys: pytest.CaptureFixture[str]) -> None:
    """`models` in [tool.loader] serves every load; the next command need not repeat it."""
    shop()
    write("pyproject.toml", "[tool.loader]", 'models = "shop.py"')
    write("data/things.csv", "id,name", "1,")
    assert main(["-q"]) == 1
    assert "load them: python -m loader --data rejects" in capsys.readouterr().out


FAULTS: dict[str, tuple[Sequence[str], str]] = {
    "nothing": (["THINGS = {}"], "models: shop.py declares nothing: none of its names is a Dataset, or a list of them"),
    "syntax": (["", "x = ("], "shop.py:2: SyntaxError: '(' was never closed"),
    "error": (["", "import nonesuch"], "shop.py:2: ModuleNotFoundError: No module named 'nonesuch'"),
    "exit": (["raise SystemExit(3)"], "shop.py:1: SystemExit: 3"),
    "mute": (["assert False"], "shop.py:1: AssertionError"),
    "lines": (["raise ValueError('one\\n  two')"], "shop.py:1: ValueError: one two"),
    "library": (["from fractions import *", "Fraction(", " 1, 0)"], "shop.py:2: ZeroDivisionError: Fraction(1, 0)"),
    "sibling": (["import broken"], "broken.py:1: NameError: name 'gone' is not defined"),
    "generated": (["", "eval('1 +')"], "shop.py:2: SyntaxError: invalid syntax"),
    "declaration": ([SHOP, 'T = Dataset("t", Thing, "no")'], "shop.py:14: dataset 't': class Thing has no field 'no'"),
    "two of a name": ([SHOP, 'T = Dataset("things", Thing, "id")'], "two datasets are named 'things'"),
    "attrs": (
        ["import attrs", "attrs.fields(int)"],
        "shop.py:2: NotAnAttrsClassError: <class 'int'> is not an attrs-decorated class.",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_file_that_is_no_use_ends_with_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """File and line are named in one line, and nothing is written; with -v there is a traceback as well."""
    lines, told = FAULTS[case]
    write("broken.py", "gone")
    write("shop.py", *lines)
    write("data/things.csv", "id,name", "1,Lamp")
    assert main(["--models", "shop.py"]) == 2
    assert capsys.readouterr().err == f"loader: {told}\n"
    assert main(["--models", "shop.py", "-v"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert left() - {"__pycache__"} == {"shop.py", "broken.py"}


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("nowhere/shop.py", "models: nowhere/shop.py is not there, or is not a file"),
        ("directory.py", "models: directory.py is not there, or is not a file"),
        ("nonesuch", "models: nonesuch cannot be imported: ModuleNotFoundError: No module named 'nonesuch'"),
        ("os.x", "models: os.x cannot be imported: ModuleNotFoundError: No module named 'os.x'; 'os' is not a package"),
        ("loader.py", f"models: loader.py needs another name: loader is {ROOT / 'loader' / '__init__.py'}"),
        ("sys.py", "models: sys.py needs another name: sys is a part of Python"),
    ],
)
def test_models_that_are_not_there(models: str, told: str) -> None:
    """What is not there, or hidden behind another module of its name, is named as it was given."""
    Path("directory.py").mkdir()
    write("loader.py")
    write("sys.py")
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        find_datasets(models, Path())


def test_datasets_that_do_not_go_together_are_refused_at_once() -> None:
    """A reference to a dataset that is not declared there is a wrong declaration."""
    write("shop.py", "from loader.datasets import ORDERS")
    with pytest.raises(DeclarationError, match="user_id refers to dataset 'users', which is not there"):
        find_datasets("shop.py", Path())


def test_a_file_elsewhere_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a fault is a path that can be opened from where one is."""
    write("a/shop.py", "gone")
    Path("b").mkdir()
    monkeypatch.chdir("b")
    with pytest.raises(UsageError, match=f"^{re.escape(os.fspath(tmp_path / 'a' / 'shop.py'))}:1: NameError"):
        find_datasets("../a/shop.py", Path())
