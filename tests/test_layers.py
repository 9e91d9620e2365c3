"""The walls of the house: who may import what, and who may touch files, screens and event loops."""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "loader"
SOURCES = {
    ".".join(("loader", *path.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): path.read_text(
        encoding="utf-8"
    )
    for path in sorted(HOUSE.rglob("*.py"))
}
"""The text of each module, by its name."""

PACKAGES = {name for name in SOURCES if (HOUSE.parent / name.replace(".", "/")).is_dir()}

PARTS = {
    "loader.core": {"loader.core"},
    "loader.datasets": {"loader.datasets", "loader.core"},
    "loader.sources": {"loader.sources", "loader.core", "loader.threads"},
    "loader.targets": {"loader.targets", "loader.core", "loader.disk", "loader.threads"},
    "loader.disk": set(),
    "loader.threads": set(),
    "loader.executors": {"loader.core"},
    "loader.view": {"loader.core"},
    "loader.export": {"loader.core", "loader.disk"},
    "loader.settings": {"loader.core"},
    "loader.ledger": {"loader.core"},
    "loader.together": {"loader.core", "loader.targets"},
    "loader.pipeline": {
        "loader.core",
        "loader.sources",
        "loader.targets",
        "loader.executors",
        "loader.ledger",
        "loader.together",
    },
    "loader.verifying": {"loader.core", "loader.targets", "loader.pipeline"},
    "loader.models": {"loader.core", "loader.datasets"},
    "loader.api": {"loader.core", "loader.sources", "loader.targets", "loader.pipeline", "loader.verifying"},
    "loader": {"loader.api"},
    "loader.starter": {"loader", "loader.core"},
    "loader.pytest_plugin": {
        "loader",
        "loader.core",
        "loader.models",
        "loader.settings",
        "loader.sources",
        "loader.view",
    },
    "loader.__main__": {"loader.cli"},
    "loader.cli": {
        "loader",
        "loader.core",
        "loader.executors",
        "loader.export",
        "loader.models",
        "loader.pipeline",
        "loader.settings",
        "loader.sources",
        "loader.starter",
        "loader.targets",
        "loader.threads",
        "loader.verifying",
        "loader.view",
    },
}
"""What each part of the house may import of the others. `loader` itself is what it offers to users."""

FOREIGN = {
    "aiosqlite": {"loader.targets.sqlite"},
    "sqlite3": {"loader.targets.sqlite", "loader.targets.staging", "loader.targets.recovery"},
    "rich": {"loader.view", "loader.cli"},
    "rich_argparse": {"loader.cli"},
    "argparse": {"loader.cli"},
    "backports": {"loader.sources.packings"},
    "compression": {"loader.sources.packings"},
    "ijson": {"loader.sources.json_array"},
    "orjson": {
        "loader.core.kinds",
        "loader.sources.ndjson",
        "loader.sources.rows",
        "loader.sources.uniform",
        "loader.export",
    },
    "pyarrow": {"loader.sources.parquet"},
    "pyroaring": {"loader.core.keys"},
    "tomllib": {"loader.settings", "loader.starter"},
    "importlib": {"loader", "loader.models", "loader.sources"},
    "pytest": {"loader.pytest_plugin"},
    "asyncio": {
        "loader.executors",
        "loader.pipeline",
        "loader.verifying",
        "loader.ledger",
        "loader.sources.rows",
        "loader.targets",
        "loader.targets.sqlite",
        "loader.threads",
        "loader.view",
        "loader.cli",
    },
    "threading": {"loader.executors", "loader.sources.files", "loader.targets.recovery", "loader.threads"},
    "multiprocessing": {"loader.executors"},
    "pickle": set(),
}
"""Which modules may import what is not of the house; what is not listed here is free, but for the core."""

CORE_MAY = {
    "attrs",
    "orjson",
    "pyroaring",
    "array",
    "bisect",
    "collections",
    "contextlib",
    "datetime",
    "decimal",
    "enum",
    "errno",
    "functools",
    "graphlib",
    "inspect",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "time",
    "types",
    "typing",
    "uuid",
}
"""All that the pure half may import: nothing with which to reach a file, a database, a screen or a loop."""

MAY_OPEN = {
    "loader.sources.files": "reads sources",
    "loader.sources.packings": "unpacks what it is given open",
    "loader.sources": "looks for sources",
    "loader.settings": "reads pyproject.toml",
    "loader.starter": "writes what a project begins with",
    "loader.export": "writes the result and the rejects",
    "loader.disk": "syncs directories",
    "loader.cli": "opens the null device in place of a closed stream",
    "loader.targets.recovery": "reads which journals a commit that was cut off has left",
}
_OPENING = {
    "open",
    "fdopen",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "GzipFile",
    "FileIO",
    "TemporaryFile",
    "mkstemp",
}


def part(module: str) -> str:
    """The part of the house that a module belongs to: the longest name that begins its own."""
    return max((name for name in PARTS if f"{module}.".startswith(f"{name}.")), key=len)


def imports(text: str) -> Iterator[str]:
    """The modules that a module imports, wherever in it that stands; of `loader` itself, what is taken from it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            module = node.module or ""
            submodules = [f"{module}.{alias.name}" for alias in node.names if f"{module}.{alias.name}" in SOURCES]
            yield from submodules or [module]


def calls(text: str) -> Iterator[str]:
    """The names, or last parts of names, of all that is called."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def faults(module: str, text: str) -> Iterator[str]:
    """What a module does that its place in the house does not allow."""
    own = part(module)
    tree = ast.parse(text)
    if not (ast.get_docstring(tree) or "").strip():
        yield "has no docstring"
    for name in imports(text):
        top = name.partition(".")[0]
        if top == "loader":
            if part(name) != own and part(name) not in PARTS[own]:
                yield f"imports {name}"
        elif (top in FOREIGN and module not in FOREIGN[top]) or (own == "loader.core" and top not in CORE_MAY):
            yield f"imports {name}"
        elif top not in FOREIGN and top not in CORE_MAY and top not in sys.stdlib_module_names:
            yield f"imports {name}, which nobody knows"
    for name in calls(text):
        if name in _OPENING and module not in MAY_OPEN and not _opens_no_file(module, name):
            yield f"calls {name}"
        if name == "print" and module not in ("loader.cli", "loader.__main__") and own != "loader.view":
            yield "calls print"
    if own == "loader.core":
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
                yield f"awaits, in line {node.lineno}"


def _opens_no_file(module: str, name: str) -> bool:
    """Whether what is called `open` is the contract's: a source's, a target's, a ledger's."""
    return name == "open" and module == "loader.pipeline" and "with open(" not in SOURCES.get(module, "")


def circles(texts: Mapping[str, str]) -> list[str]:
    """A circle of imports at module level, if there is one. To import a module is to import its packages first."""
    graph = {
        module: {name for name in _at_load(text) if name in texts and name != module} for module, text in texts.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _at_load(text: str) -> Iterator[str]:
    tree = ast.parse(text)
    inside = {id(each) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for each in ast.walk(node)}
    outside = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    body: list[ast.stmt] = [node for node in outside if id(node) not in inside]
    yield from imports(ast.unparse(ast.Module(body, [])))


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_keeps_to_its_place(module: str) -> None:
    """Each module has a docstring, imports only what its part of the house may, and touches only what it may."""
    assert list(faults(module, SOURCES[module])) == []


def test_no_import_runs_in_a_circle() -> None:
    """There is an order in which the modules can be loaded one after the other."""
    assert circles({name: text for name, text in SOURCES.items() if name != "loader"}) == []


def test_only_the_command_line_needs_all_of_the_house() -> None:
    """What the package offers can be imported without the command line and the terminal."""
    reached = {"loader"}
    while more := {name for module in reached for name in imports(SOURCES[module]) if name in SOURCES} - reached:
        reached |= more
    assert not reached & {"loader.cli", "loader.view", "loader.settings", "loader.export"}
    assert reached >= {"loader.pipeline", "loader.targets.sqlite"}


def test_every_part_is_there() -> None:
    """The rules speak of modules that exist."""
    assert set(PARTS) <= set(SOURCES)
    assert set().union(*FOREIGN.values(), MAY_OPEN) <= set(SOURCES)
    assert {f"loader.{name}" for name in ("core", "datasets", "sources", "starter", "targets")} == PACKAGES - {"loader"}


BAD = {
    "no docstring": ("loader.core.x", "import re", "has no docstring"),
    "core and sources": ("loader.core.x", "'''X.'''\nimport loader.sources", "imports loader.sources"),
    "core and files": ("loader.core.x", "'''X.'''\nfrom pathlib import Path", "imports pathlib"),
    "core and asyncio": ("loader.core.x", "'''X.'''\ndef f():\n    import asyncio", "imports asyncio"),
    "core awaits": ("loader.core.x", "'''X.'''\nasync def f(): ...", "awaits, in line 2"),
    "core opens": ("loader.core.x", "'''X.'''\nopen('x')", "calls open"),
    "core prints": ("loader.core.x", "'''X.'''\nprint('x')", "calls print"),
    "wings": ("loader.sources.x", "'''X.'''\nfrom loader.targets import Target", "imports loader.targets"),
    "wing and pipeline": ("loader.view", "'''X.'''\nfrom loader import pipeline", "imports loader.pipeline"),
    "wing and all": ("loader.export", "'''X.'''\nfrom loader import __version__", "imports loader"),
    "pipeline and view": ("loader.pipeline", "'''X.'''\nimport loader.view", "imports loader.view"),
    "verifying and sources": ("loader.verifying", "'''X.'''\nimport loader.sources", "imports loader.sources"),
    "pipeline and datasets": ("loader.pipeline", "'''X.'''\nimport loader.datasets", "imports loader.datasets"),
    "rich": ("loader.export", "'''X.'''\nfrom rich.text import Text", "imports rich.text"),
    "aiosqlite": ("loader.targets", "'''X.'''\nimport aiosqlite", "imports aiosqlite"),
    "a view that reads": ("loader.view", "'''X.'''\nPath('x').read_bytes()", "calls read_bytes"),
    "a target that reads": ("loader.targets.x", "'''X.'''\nwith open('x'): ...", "calls open"),
    "unknown": ("loader.view", "'''X.'''\nimport numpy", "imports numpy, which nobody knows"),
}


@pytest.mark.parametrize("case", BAD)
def test_the_rules_can_be_broken(case: str) -> None:
    """Each rule finds what breaks it."""
    module, text, fault = BAD[case]
    assert list(faults(module, text)) == [fault]


def test_a_circle_would_be_found() -> None:
    """Two modules that import each other when they are loaded make a circle; inside a function they do not."""
    one, two = "import loader.view", "import loader.export"
    assert circles({"loader.export": one, "loader.view": two})
    assert not circles({"loader.export": one, "loader.view": f"def f():\n    {two}"})
