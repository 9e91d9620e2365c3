"""The README says what is so."""

import json
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from attrs import fields

from loader.cli import main, parser
from loader.core.dataset import Dataset
from loader.core.kinds import GALLERY
from loader.sources import FORMATS
from tests.test_cli import NAMES, ROOT, environment, of, result, rows, settle_in, stored, write
from tests.test_export import SCHEMA, of_right_form

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def blocks(language: str) -> list[str]:
    """The blocks of code in a language, in order."""
    return [
        text
        for found, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
        if found == language
    ]


def table(header: str) -> list[list[str]]:
    """The rows of the table that has this header."""
    lines = README[README.index(header) :].splitlines()[2:]
    cells = [line.strip("|").split("|") for line in lines[: next(at for at, line in enumerate(lines) if not line)]]
    return [[cell.strip() for cell in row] for row in cells]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def test_the_two_commands_are_there() -> None:
    """The first two blocks of shell are the two commands that do everything on a fresh machine."""
    first, second, *_ = blocks("sh")
    make = "python3 -m venv .venv && .venv/bin/pip install --quiet"
    assert first == f"{make} . && .venv/bin/python -m loader\n"
    assert second == f"{make} '.[test]' && .venv/bin/python -m pytest --quiet\n"


def test_the_command_line_is_what_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of the command line equals --help, at 80 columns and without colour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = parser().format_help()
    assert "\x1b" not in shown
    assert shown.strip() in [block.strip() for block in blocks("")]


def test_the_exit_codes_are_all_there() -> None:
    """The table of exit codes has every code that the program ends with, and no other."""
    codes = [int(code) for row in table("| code | means |") for code in row[0].split(",")]
    assert codes == [0, 1, 2, 3, 4, 129, 130, 143]
    shown = parser().format_help()
    assert all(re.search(rf"\b{code}\b", shown) for code in codes)


def test_the_reasons_are_all_there() -> None:
    """The table of reasons has every code of the schema, and no other."""
    told = [code.strip("`") for row in table("| reason | when |") for code in row[0].split(", ")]
    assert told == SCHEMA["$defs"]["code"]["enum"]


def test_the_types_are_all_there() -> None:
    """The table of types is that of the code: name, text form and column of each."""
    assert table("| type | text | column |") == [[f"`{name}`", form, column] for name, form, column in GALLERY]


def test_what_a_dataset_says_is_all_there() -> None:
    """The table of arguments has all that a Dataset takes besides its name and model."""
    told = [name for row in table("| argument | says |") for name in re.findall(r"`(\w+)`", row[0])]
    assert told == [each.name for each in fields(Dataset) if each.init][2:]


def test_the_result_is_as_shown() -> None:
    """The JSON example has the form of a result, and what it shows of the sample is what a run tells."""
    [block] = blocks("json")
    shown = of_right_form(json.loads(block))
    [orders] = shown["datasets"]
    main(["-qq", "--max-rejects", "4"])
    told = result()
    assert shown["totals"] == told["totals"]
    for run in (shown["run"], told["run"]):
        del run["started"], run["seconds"]
    assert shown["run"] == told["run"]
    real = of(told, "orders")
    assert orders["rejections"] == real["rejections"][:1]
    assert orders["rejections_omitted"] == len(real["rejections"]) - 1
    for part in (orders, real):
        del part["seconds"], part["rejections"], part["rejections_omitted"]
    assert orders == real
    assert shown["problems"] == told["problems"] == []


def test_the_rejects_are_as_shown() -> None:
    """The excerpt of the rejects equals what a run of the sample writes."""
    main(["-qq"])
    assert Path("rejects/products.csv").read_text(encoding="utf-8") in blocks("")


def test_mending_works_as_told() -> None:
    """Product 7 called `Laptop 2`, and the directory loaded with the command given, product 7 and order 7 are there."""
    main(["-qq"])
    file = Path("rejects/products.csv")
    assert "`Laptop 2`" in README
    file.write_text(file.read_text(encoding="utf-8").replace("7,Laptop,", "7,Laptop 2,"), encoding="utf-8")
    [line] = [block for block in blocks("sh") if "--data rejects" in block]
    main(line.split()[3:])
    assert (7, "Laptop 2", 1000) in rows("products")
    assert (7, 7, 7, 2) in rows("orders")


def test_the_second_run_is_as_told() -> None:
    """A second run says what the README says of it."""
    main(["-qq"])
    main(["-qq"])
    totals = result()["totals"]
    told = f"{totals['unchanged']} unchanged, {totals['rejected']} rejected, {totals['inserted']} inserted"
    assert told in README


def printed(block: str) -> list[str]:
    """The lines that a block of Python prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block], env=environment(), capture_output=True, timeout=60, check=True
    )
    return done.stdout.decode().splitlines()


def test_the_python_runs() -> None:
    """The first block of Python loads the sample, prints the rejections, and then the counts."""
    [block] = [block for block in blocks("python") if "import loader\n" in block and "loader.rows" not in block]
    lines = printed(block)
    assert len(lines) == 9
    assert any(line.startswith("data/orders.csv:8 foreign-key: product_id no product 7") for line in lines)
    assert lines[-1].startswith("rejects Counts(read=30, inserted=22")
    assert stored() == (8, 8, 6)


def test_the_rows_are_loaded() -> None:
    """The second block of Python loads one of its two rows, and prints why the other is rejected."""
    [block] = [block for block in blocks("python") if "loader.rows" in block]
    [line] = printed(block)
    assert line.startswith("sign-ups#2 constraint-error: name must have a value")
    assert rows("users") == [(11, "Kim", "kim@example.com")]


def test_what_is_named_is_there() -> None:
    """Every file and directory that the README links to, or names as one of the house, exists."""
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    named = [path for row in table("| where | what |") for path in re.findall(r"`([^`]+)`", row[0])]
    others = re.findall(r"(?:bash|python) ((?:tests|\.ci)/[\w./-]+)", README)
    assert "LICENSE" in linked
    assert "loader/pipeline.py" in named
    assert ".ci/run" in others
    for path in (*linked, *named, *others):
        assert (ROOT / path).exists(), path


def test_the_house_is_all_told() -> None:
    """The table of the house has every module and package at the top of loader/."""
    named = {path for row in table("| where | what |") for path in re.findall(r"`([^`]+)`", row[0])}
    there = {f"loader/{path.name}" for path in (ROOT / "loader").glob("*.py") if not path.name.startswith("__")}
    there |= {f"loader/{path.parent.name}/" for path in (ROOT / "loader").glob("*/__init__.py")}
    assert there <= named


def test_the_parts_are_all_named() -> None:
    """Each dependency, an extra's too, is named with its reason."""
    project = PROJECT["project"]
    extras = [each for name, extra in project["optional-dependencies"].items() if name != "test" for each in extra]
    names = [re.split(r"[<>=]", each)[0] for each in (*project["dependencies"], *extras)]
    assert [name for name in names if f"[{name}](" not in README] == []
    assert f"`{project['name']}`" in README
    assert f"max-rejects = {PROJECT['tool']['loader']['max-rejects']}" in README


def test_the_picture_is_one_of_the_view() -> None:
    """The picture is an SVG that rich wrote, with the lanes and the latest rejects in it."""
    [path] = re.findall(r"!\[[^\]]+\]\(([^)]+\.svg)\)", README)
    root = ET.parse(ROOT / path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = "".join(root.itertext()).replace("\xa0", " ")
    for word in (*NAMES, "Progress", "Inserted", "Latest rejects", "users.csv:"):
        assert word in text


# --- all that can be run ---------------------------------------------------------------------------------------------

STEP = re.compile(
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"|^In line (?P<line>\d+) of `(?P<file>\S+)`, write `(?P<new>\S+)` instead of `(?P<old>\S+)`\.$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands need of a checkout, in a directory in which any `python` runs this very loader."""
    made = tmp_path / "checkout"
    for name in ("pyproject.toml", "tests/benchmarks/generate.py", *(f"data/{name}.csv" for name in NAMES)):
        write(f"{made}/{name}", (ROOT / name).read_text(encoding="utf-8").rstrip("\n"))
    python = write(f"{made}/.venv/bin/python", "#!/bin/sh", f'exec "{sys.executable}" "$@"')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p loader.pytest_plugin")
    return made


def run(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments, cwd=place, env=environment(), capture_output=True, timeout=60, text=True)


def take(step: re.Match[str], place: Path) -> tuple[Path, "subprocess.CompletedProcess[str] | None"]:
    """Do what the README says, and return where one is then and how it ended, if it was to be run.

    A sample of data is made smaller; Python that begins with the name of a file goes to its end.
    """
    code = step["code"]
    if step["line"]:
        file, at = place / step["file"], int(step["line"]) - 1
        lines = file.read_text(encoding="utf-8").splitlines()
        assert lines[at].count(step["old"]) == 1
        lines[at] = lines[at].replace(step["old"], step["new"])
        write(str(file), *lines)
    elif step["language"] == "sh":
        fewer = re.sub(r"(--[a-z]+ \d+)000\b", r"\1", code)
        done = run(place, "bash", "-c", f"trap 'pwd >&2' EXIT\n{fewer}")
        return Path(done.stderr.splitlines()[-1]), done
    elif name := re.match(r"# (\w+\.py)\n", code):
        with (place / name[1]).open("a", encoding="utf-8") as end:
            end.write(code)
    elif step["language"] == "python":
        return place, run(place, sys.executable, "-W", "error", "-c", code)
    return place, None


def test_all_that_is_shown_can_be_done(checkout: Path) -> None:
    """Each block of shell and Python, and each edit between them, works in its turn; a section begins in the checkout.

    Of the two blocks that install, which the gate runs, only the part that loads the sample is done here.
    """
    [install, test, *_] = blocks("sh")
    text = README.replace(install, install.rpartition(" && ")[2]).replace(test, "")
    taken: list[re.Match[str]] = []
    failed: list[str] = []
    told = ""
    for section in text.split("\n## "):
        place = checkout
        for step in STEP.finditer(section):
            place, done = take(step, place)
            taken.append(step)
            if done and done.returncode:
                failed.append(step["code"])
            told += done.stdout if done else ""
    assert failed == [block for block in blocks("sh") if "--init" in block]
    assert sum(step["language"] in ("sh", "python") for step in taken) == len(blocks("sh") + blocks("python"))
    assert sum(step["language"] is None for step in taken) == README.count("\nIn line ")
    assert {step["language"] for step in taken} == {"sh", "python", "json", None}
    assert "1 passed" in told

    shop, big = checkout.parent / "shop/result.json", checkout / "big/result.json"
    totals = result(shop)["totals"]
    assert f"Now {totals['inserted']} are inserted" in README
    assert f"{totals['unchanged']} unchanged, {totals['rejected']} rejected." in README
    assert result(big)["run"]["status"] == "rejects"
    assert all(stored(big.parent))


def test_the_formats_are_all_there() -> None:
    """The table of formats names every ending that a file may have, and no other."""
    told = [ending for row in table("| ending | rows are |") for ending in re.findall(r"`\.(\w+)`", row[0])]
    assert told == list(FORMATS)
