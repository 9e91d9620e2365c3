"""The command line, from the arguments to the exit code, and what it leaves behind."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import loader
from loader import cli
from loader.cli import main, parser
from loader.core.limits import RejectLimit
from loader.settings import OPTIONS, gather
from loader.targets import sqlite
from tests.benchmarks.generate import generate

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data"
NAMES = ("users", "products", "orders")

# --- how this file and its neighbours run the program ----------------------------------------------------------------

_TELLING = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM")


def _tells(name: str) -> bool:
    return name.startswith("LOADER_") or name in (*_TELLING, "PYTHONUNBUFFERED")


def settle_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory that holds the sample and no more, in an environment that sets nothing."""
    for name in filter(_tells, list(os.environ)):
        monkeypatch.delenv(name)
    shutil.copytree(SAMPLE, directory / "data")
    monkeypatch.chdir(directory)


def environment(**changes: str) -> dict[str, str]:
    """That of a child process, which is to find this very loader wherever it works."""
    inherited = {name: value for name, value in os.environ.items() if not _tells(name)}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **changes}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "loader", *arguments]


def program(
    *arguments: str, env: Mapping[str, str] | None = None, **streams: Any
) -> "subprocess.CompletedProcess[bytes]":
    """Run the program in a process of its own."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **streams}
    return subprocess.run(command(*arguments), env=environment(**(env or {})), timeout=60, **streams)


def exit_code(*arguments: str) -> int:
    """Run the command line here, and return how it ends: by its own code, or by that of argparse."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def write(path: str, *lines: str) -> Path:
    """Write a file of these lines, and its directory."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def rows(name: str, directory: Path | str = ".") -> list[tuple[Any, ...]]:
    """What a database holds."""
    with closing(sqlite3.connect(f"{Path(directory, name).absolute().as_uri()}.db?mode=rw", uri=True)) as connection:
        return list(connection.execute(f"SELECT * FROM {name} ORDER BY 1"))


def stored(directory: Path | str = ".") -> tuple[int, ...]:
    """How many users, products and orders the databases hold."""
    return tuple(len(rows(name, directory)) for name in NAMES)


def result(path: Path | str = "result.json") -> dict[str, Any]:
    document = json.loads(Path(path).read_bytes())
    assert isinstance(document, dict)
    return document


def of(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the result says of one dataset."""
    [found] = [each for each in document["datasets"] if each["name"] == name]
    assert isinstance(found, dict)
    return found


def refused(document: Mapping[str, Any], name: str) -> list[tuple[int, list[tuple[str, str, str]]]]:
    """The rejections of one dataset: the line, and of each reason its code, field and message."""
    return [
        (each["line"], [(reason["code"], reason["field"], reason["message"]) for reason in each["reasons"]])
        for each in of(document, name)["rejections"]
    ]


def totals(document: Mapping[str, Any]) -> dict[str, int]:
    """The totals that are not zero."""
    return {name: count for name, count in document["totals"].items() if count}


def timeless(document: Mapping[str, Any]) -> dict[str, Any]:
    """A result without its times."""
    found = json.loads(json.dumps(document))
    for part in (found["run"], *found["datasets"]):
        part.pop("seconds")
    found["run"].pop("started")
    assert isinstance(found, dict)
    return found


def left(directory: Path | str = ".") -> set[str]:
    """The names of the files and directories in a directory, but for the data."""
    return {path.name for path in Path(directory).iterdir()} - {"data"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


# --- the sample ------------------------------------------------------------------------------------------------------

ALICE = "data/users.csv:9 was rejected (unique-error: email 'alice@example.com' is user 1's)"
BLANK = "data/users.csv:11 was rejected (constraint-error: name must have a value)"
LAPTOP = "data/products.csv:8 was rejected (unique-error: name 'Laptop' is product 1's)"
REFUSED = {
    "users": [
        (9, [("unique-error", "email", "'alice@example.com' is user 1's")]),
        (11, [("constraint-error", "name", "must have a value")]),
    ],
    "products": [
        (8, [("unique-error", "name", "'Laptop' is product 1's")]),
        (11, [("constraint-error", "price", "must be > 0: -50.00")]),
    ],
    "orders": [
        (8, [("foreign-key", "product_id", f"no product 7: {LAPTOP}")]),
        (
            9,
            [
                ("constraint-error", "quantity", "must be > 0: 0"),
                ("foreign-key", "user_id", f"no user 8: {ALICE}"),
            ],
        ),
        (10, [("constraint-error", "quantity", "must be > 0: -1")]),
        (
            11,
            [
                ("foreign-key", "user_id", f"no user 10: {BLANK}"),
                ("foreign-key", "product_id", "no product 11"),
            ],
        ),
    ],
}


def test_the_sample_is_loaded_and_accounted_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The first run stores 8, 8 and 6, and rejects the rest, each with all its reasons and their causes."""
    assert main([]) == 1
    assert stored() == (8, 8, 6)
    document = result()
    assert totals(document) == {"read": 30, "inserted": 22, "rejected": 8}
    assert {name: refused(document, name) for name in NAMES} == REFUSED
    assert document["run"]["status"] == "rejects"
    assert document["run"]["exit_code"] == 1
    reasons = [reason for each in of(document, "orders")["rejections"] for reason in each["reasons"]]
    assert reasons[0]["cause"] == {
        "dataset": "products",
        "key": 7,
        "source": "data/products.csv",
        "line": 8,
        "code": "unique-error",
    }
    assert ["cause" in reason for reason in reasons] == [True, False, True, False, True, False]
    assert of(document, "users")["rejections"][0]["reasons"][0]["holder"] == 1
    assert left() == {"users.db", "products.db", "orders.db", "result.json", "rejects"}
    assert left("rejects") == {"users.csv", "products.csv", "orders.csv"}
    out, err = capsys.readouterr()
    assert "Mend the rows there, then load them: python -m loader --data rejects" in out
    assert "orders: complete, 10 read, 6 inserted, 4 rejected" in err


def test_the_second_run_finds_all_unchanged() -> None:
    """Run again, the same rows are rejected for the same reasons, and nothing is stored twice."""
    assert main(["-qq"]) == 1
    before = {name: rows(name) for name in NAMES}
    assert main(["-qq"]) == 1
    document = result()
    assert totals(document) == {"read": 30, "unchanged": 22, "rejected": 8}
    assert {name: refused(document, name) for name in NAMES} == REFUSED
    assert {name: rows(name) for name in NAMES} == before


def test_prices_are_kept_as_they_stand() -> None:
    """What is read back from a database equals what was written in the file."""
    write("data/products.csv", "id,name,price", "1,A,19.99", "2,B,0.01", "3,C,9999999999999.99", "4,D,1000.00")
    main(["-qq"])
    assert [price for _, _, price in rows("products")] == [19.99, 0.01, 9999999999999.99, 1000]


def test_the_projects_own_configuration_allows_for_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    """In the checkout the bare command ends with 0, and says which setting makes it so."""
    shutil.copy(ROOT / "pyproject.toml", ".")
    assert main([]) == 0
    assert result()["run"]["status"] == "rejects"
    expected = "8 of 30 records were rejected; max-rejects 4 a dataset (pyproject.toml) allows for that: exit code 0."
    assert expected in capsys.readouterr().out


def test_a_clean_load_ends_with_0() -> None:
    """Where every record is stored the exit code is 0, and no rejects are written."""
    write("data/users.csv", "id,name,email", "1,A,a@x.io")
    assert main(["-qq", "users"]) == 0
    assert left() == {"users.db", "result.json"}
    assert result()["run"]["status"] == "complete"


def test_the_streams_have_their_own_uses() -> None:
    """In a process of its own: the summary is on stdout, the progress on stderr, and neither has an escape sequence."""
    done = program()
    assert done.returncode == 1
    assert b"products  " in done.stdout
    assert b"Why rejected" in done.stdout
    assert b"waits for" not in done.stdout
    assert b"data/users.csv:9  unique-error  email: 'alice@example.com' is user 1's" in done.stderr
    assert b"Why rejected" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


def test_nothing_is_told_by_a_warning() -> None:
    """In development mode, with warnings as errors, the program has nothing to complain of."""
    arguments = [sys.executable, "-X", "dev", "-W", "error", "-m", "loader", "-qq"]
    done = subprocess.run(arguments, env=environment(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


# --- settings --------------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[str, str, str, Callable[[str], Any]]] = {
    "data": ("a", "b", "c", Path),
    "models": ("a.py", "b", "c.d", str),
    "into": ("a", "b", "c", Path),
    "export": ("a.json", "none", "-", lambda text: None if text == "none" else Path(text)),
    "rejects": ("a", "none", "c", lambda text: None if text == "none" else Path(text)),
    "on-conflict": ("update", "reject", "update", str),
    "max-rejects": ("3", "0.5%", "0", RejectLimit.parse),
    "format": ("csv", "tsv", "jsonl", str),
    "delimiter": (";", "|", "tab", lambda text: "\t" if text == "tab" else text),
    "encoding": ("latin-1", "utf-16", "cp1252", str),
    "jobs": ("0", "2", "12", int),
    "live": ("never", "always", "auto", str),
    "color": ("never", "always", "auto", str),
}
SWITCHES = ("check", "verify", "atomic", "ignore-extra", "verbose")


def gathered(*arguments: str, **variables: str) -> tuple[Any, Mapping[str, str]]:
    settings = gather(vars(parser().parse_args(arguments)), variables, Path("pyproject.toml"))
    return settings, settings.origins


def test_every_option_is_looked_at_here() -> None:
    """No option is without a test of its layers."""
    assert {option.name for option in OPTIONS} == {*LAYERS, *SWITCHES, "quiet"}


@pytest.mark.parametrize("name", LAYERS)
def test_a_flag_wins_over_a_variable_over_the_configuration_over_the_default(name: str) -> None:
    """Each option can be set in three places, and the nearest to the user wins and is named as the origin."""
    first, second, third, read = LAYERS[name]
    variable = f"LOADER_{name.upper().replace('-', '_')}"
    [default] = [option.default for option in OPTIONS if option.name == name]
    settings, origins = gathered()
    assert settings[name] == default
    assert name not in origins
    write("pyproject.toml", "[tool.loader]", f'{name} = "{first}"')
    settings, origins = gathered()
    assert (settings[name], origins[name]) == (read(first), "pyproject.toml")
    settings, origins = gathered(**{variable: second})
    assert (settings[name], origins[name]) == (read(second), variable)
    settings, origins = gathered(f"--{name}", third, **{variable: second})
    assert (settings[name], origins[name]) == (read(third), f"--{name}")


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_can_be_set_everywhere(name: str) -> None:
    """A switch is off by default; the configuration may turn it on, a variable off again, a flag on again."""
    variable = f"LOADER_{name.upper().replace('-', '_')}"
    assert gathered()[0][name] is False
    write("pyproject.toml", "[tool.loader]", f"{name} = true")
    assert gathered()[0][name] is True
    assert gathered(**{variable: "no"})[0][name] is False
    assert gathered(f"--{name}", **{variable: "0"})[0][name] is True


def test_quiet_can_be_set_everywhere() -> None:
    """Each -q makes it quieter by one, and a number does so elsewhere."""
    assert gathered()[0]["quiet"] == 0
    write("pyproject.toml", "[tool.loader]", "quiet = 1")
    assert gathered()[0]["quiet"] == 1
    assert gathered(LOADER_QUIET="2")[0]["quiet"] == 2
    assert gathered("-q", LOADER_QUIET="2")[0]["quiet"] == 1
    assert gathered("-qqq")[0]["quiet"] == 2


def test_short_flags_are_the_long_ones() -> None:
    """-d, -m, -o, -q and -v do what --data, --models, --into, --quiet and --verbose do."""
    settings, origins = gathered("-d", "a", "-m", "m", "-o", "b", "-q", "-v", "users")
    names = ("data", "models", "into", "quiet", "verbose")
    assert [settings[name] for name in names] == [Path("a"), "m", Path("b"), 1, True]
    assert set(origins) == set(names)
    assert settings.names == ["users"]


WRONG = {
    "models": "shop/",
    "data": "https://localhost/data",
    "into": "postgresql://localhost/users",
    "export": "https://localhost/result.json",
    "rejects": "s3://rejects",
    "on-conflict": "ignore",
    "max-rejects": "-1",
    "format": "xml",
    "delimiter": ",,",
    "encoding": "nonsense",
    "live": "yes",
    "color": "blue",
}


@pytest.mark.parametrize("name", [*WRONG, "check", "ignore-extra", "verbose", "quiet"])
@pytest.mark.parametrize("place", ["flag", "variable", "configuration"])
def test_a_wrong_value_names_where_it_comes_from(
    name: str, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is none ends with 2, names flag, variable or file, and leaves nothing behind."""
    value = WRONG.get(name, "perhaps")
    if place == "flag" and name in WRONG:
        arguments, origin = [f"--{name}={value}"], f"--{name}"
    elif place == "configuration":
        write("pyproject.toml", "[tool.loader]", f'{name} = "{value}"')
        arguments, origin = [], f"pyproject.toml: {name}"
    else:
        origin = f"LOADER_{name.upper().replace('-', '_')}"
        monkeypatch.setenv(origin, value)
        arguments = []
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"loader: {origin}: ")
    assert err.count("\n") == 1
    assert left() <= {"pyproject.toml"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.loader]\nmaximum = 3", "maximum"),
        ("[tool.loader]\njobs = [1]", "jobs"),
        ("[tool.loader]\nmax-rejects = 0.5", "max-rejects"),
        ("[tool", "cannot be read"),
        ("[tool]\nloader = 3", "[tool.loader]"),
        ("tool = 3", "tool"),
        ("[tool.loader]\ndata = '\udcff'", "cannot be read"),
    ],
)
def test_a_wrong_configuration_ends_with_2(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that cannot be read, or sets what is not there, is named, and nothing is done."""
    Path("pyproject.toml").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("loader: pyproject.toml")
    assert told in err
    assert left() == {"pyproject.toml"}


def test_a_configuration_of_others_is_no_concern() -> None:
    """A pyproject.toml without a [tool.loader] sets nothing."""
    write("pyproject.toml", "[tool.other]", "data = 3")
    assert gathered()[1] == {}


def test_a_configuration_that_is_a_directory_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read as a file is told."""
    Path("pyproject.toml").mkdir()
    assert main([]) == 2
    assert "pyproject.toml cannot be read" in capsys.readouterr().err


# --- names and files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nonsense"], "--nonsense"),
        (["--max"], "--max"),
        (["--data"], "--data"),
        (["customers"], "there is no dataset 'customers'; there are users, products, orders"),
        (["users=missing.csv"], "missing.csv is not there"),
        (["users=data"], "data"),
        (["users="], "must end in"),
        (["users=" + "x" * 300 + ".csv"], "xxx.csv"),
        (["--data", "x" * 300], "xxx"),
        (["--rejects", "x" * 300], "xxx"),
        (["--export", "data/users.csv"], "data/users.csv"),
        (["--export", "orders.db"], "orders.db"),
        (["users=data/users.xlsx"], "data/users.xlsx: the name must end in .csv or .tsv or .json or .ndjson"),
        (["users=data/users.xlsx", "--format", "csv"], "data/users.xlsx is not there"),
        (["users=data", "--format", "csv"], "data is not there, or is not a file"),
        (["users=parts/*.csv"], "parts/*.csv matches no file"),
        (["users=data/users.csv", "users=data/../data/users.csv"], "data/../data/users.csv is named twice for users"),
        (["users=data/users.csv", "users=data/u*.csv"], "data/users.csv is named twice for users"),
        (["users", "users"], "data/users.csv is named twice for users"),
        (["users=-"], "stdin has no name that tells its format: say --format csv|tsv|json|ndjson"),
        (
            ["users=-", "orders=-", "--format", "csv"],
            "only one dataset can be read from stdin, not users=- and orders=-",
        ),
        (["users=-", "users=-", "--format", "csv"], "stdin is named twice for users"),
        *((["--delimiter", each], "--delimiter: choose tab, or one ASCII character") for each in '"\\\n\r\0_a7§'),
        (["--delimiter", ""], "--delimiter: choose tab, or one ASCII character"),
        *(
            (["--encoding", each], f"--encoding: Python knows no encoding of text by the name '{each}'")
            for each in ("", "nonsense", "base64", "hex", "rot13", "idna", "punycode", "undefined", "locale")
        ),
        (["--data", "nowhere"], "nowhere holds none of users.csv, products.csv, orders.csv"),
        (["--data", "nowhere", "users"], "nowhere holds no file of users"),
        (["--export", "nowhere/result.json"], "--export: there is no directory nowhere"),
        (["--rejects", "data"], "data/users.csv would be overwritten"),
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done is told before anything is written, by its name and without a traceback."""
    before = {path.name: path.read_bytes() for path in SAMPLE.iterdir()}
    assert exit_code(*arguments) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err
    assert left() == set()
    assert {path.name: path.read_bytes() for path in Path("data").iterdir()} == before


def test_two_files_of_a_dataset_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Where two files could be meant both are named, and naming one helps."""
    write("data/users.ndjson", '{"id": 11, "name": "N", "email": "n@x.io"}')
    assert main([]) == 2
    expected = "data/users.csv and data/users.ndjson are both there: name the one to load, as users=data/users.csv"
    assert expected in capsys.readouterr().err
    assert left() == set()
    assert main(["-qq", "users=data/users.ndjson"]) == 0
    assert rows("users") == [(11, "N", "n@x.io")]


def test_a_file_name_may_hold_an_equals_sign() -> None:
    """What stands behind the first equals sign is the file."""
    shutil.move("data/users.csv", "data/a=b.csv")
    assert main(["-qq", "users=data/a=b.csv"]) == 1
    assert len(rows("users")) == 8


def test_orders_alone_look_up_the_databases_of_an_earlier_run() -> None:
    """A dataset can be loaded by itself; its references are looked up where earlier runs have stored them."""
    main(["-qq", "users", "products"])
    assert left() >= {"users.db", "products.db"}
    assert main(["-qq", "orders"]) == 1
    assert len(rows("orders")) == 6
    document = result()
    assert [each["name"] for each in document["datasets"]] == ["orders"]
    reasons = [message for _, found in refused(document, "orders") for _, _, message in found]
    assert reasons == [
        "no product 7",
        "must be > 0: 0",
        "no user 8",
        "must be > 0: -1",
        "no user 10",
        "no product 11",
    ]


def test_orders_alone_without_databases_refer_to_nothing() -> None:
    """Where there is no database there is no record, and none is made by looking."""
    assert main(["-qq", "orders"]) == 1
    assert stored_if_there() == {"orders": 0}
    assert of(result(), "orders")["reasons"]["foreign-key"] == 20


def stored_if_there() -> dict[str, int]:
    return {name: len(rows(name)) for name in NAMES if Path(f"{name}.db").exists()}


def test_files_of_a_dataset_are_read_in_the_order_given() -> None:
    """Of two files the first one's row wins, and a rejection names the file where it stood."""
    write("one.csv", "id,name,email", "1,First,a@x.io")
    write("two.csv", "email,id,name", "b@x.io,1,Second", "c@x.io,2,Third")
    assert main(["-qq", "users=one.csv", "users=two.csv"]) == 1
    assert rows("users") == [(1, "First", "a@x.io"), (2, "Third", "c@x.io")]
    [rejection] = of(result(), "users")["rejections"]
    assert (rejection["source"], rejection["line"], rejection["row"]) == ("two.csv", 2, 1)
    assert of(result(), "users")["sources"] == ["one.csv", "two.csv"]
    assert main(["-qq", "-o", "other", "users=two.csv", "users=one.csv"]) == 1
    assert rows("users", "other") == [(1, "Second", "b@x.io"), (2, "Third", "c@x.io")]


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_every_format_is_found_and_loaded(form: str) -> None:
    """The sample as JSON or NDJSON, each value of its JSON type, has the same ends."""
    for name in NAMES:
        header, *lines = Path(f"data/{name}.csv").read_text(encoding="utf-8").splitlines()
        Path(f"data/{name}.csv").unlink()
        objects = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        text = json.dumps(objects) if form == "json" else "\n".join(map(json.dumps, objects))
        write(f"data/{name}.{form}", text)
    assert main(["-qq"]) == 1
    assert stored() == (8, 8, 6)
    lines_told = [line for name in NAMES for line, _ in refused(result(), name)]
    assert lines_told == ([None] * 8 if form == "json" else [8, 10, 7, 10, 7, 8, 9, 10])
    assert left("rejects") == {f"{name}.{form}" for name in NAMES}


# --- what can be asked for -------------------------------------------------------------------------------------------


def test_check_gives_the_verdicts_and_writes_no_database(capsys: pytest.CaptureFixture[str]) -> None:
    """With --check the rejections are those of a load, and no database appears."""
    assert main(["--check"]) == 1
    checked = result()
    assert "Checked only, nothing was stored." in capsys.readouterr().out
    assert left() == {"result.json", "rejects"}
    assert main(["-qq"]) == 1
    loaded = result()
    assert (checked["run"].pop("check"), loaded["run"].pop("check")) == (True, False)
    assert timeless(checked) == timeless(loaded)


def test_check_leaves_databases_as_they_are() -> None:
    """With --check databases that are there are looked at, and keep every byte and their time."""
    main(["-qq"])
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path().glob("*.db")}
    assert main(["-qq", "--check"]) == 1
    assert totals(result()) == {"read": 30, "unchanged": 22, "rejected": 8}
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path().glob("*.db*")} == before


def test_on_conflict_says_what_becomes_of_a_record_with_other_values() -> None:
    """By default a record whose key is stored with other values is rejected; with update it replaces that one."""
    main(["-qq", "users"])
    write("data/users.csv", "id,name,email", "1,Alice B.,alice@example.com", "2,Bob,bob@example.com")
    assert main(["-qq", "users"]) == 1
    assert refused(result(), "users") == [(2, [("primary-key", "id", "1 is stored already, with another name")])]
    assert rows("users")[0] == (1, "Alice", "alice@example.com")
    assert main(["-qq", "users", "--on-conflict", "update"]) == 0
    assert totals(result()) == {"read": 2, "updated": 1, "unchanged": 1}
    assert rows("users")[0] == (1, "Alice B.", "alice@example.com")
    assert len(rows("users")) == 8


@pytest.mark.parametrize(
    ("limit", "code", "statuses"),
    [
        ("4", 0, ["complete", "complete", "complete"]),
        ("3", 3, ["complete", "complete", "failed"]),
        ("40%", 0, ["complete", "complete", "complete"]),
        ("39.9%", 3, ["complete", "complete", "failed"]),
        ("0", 3, ["failed", "failed", "stopped"]),
        ("0%", 3, ["failed", "failed", "stopped"]),
        ("100%", 0, ["complete", "complete", "complete"]),
    ],
)
def test_a_limit_of_rejects(limit: str, code: int, statuses: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the limit the exit code is 0; beyond it a dataset fails, and what depends on it stops."""
    assert main(["-q", "--max-rejects", limit]) == code
    document = result()
    assert [each["status"] for each in document["datasets"]] == statuses
    assert document["run"]["status"] == ("failed" if code else "rejects")
    assert stored() == tuple(each["inserted"] for each in document["datasets"])
    for each in document["datasets"]:
        assert each["read"] == sum(each[end] for end in ("inserted", "updated", "unchanged", "rejected", "untried"))
    out, err = capsys.readouterr()
    assert ("allows for that: exit code 0" in out) == (code == 0)
    assert (f"more than max-rejects {limit}" in err) == (code == 3)


def test_extra_columns_are_refused_unless_they_are_to_be_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown column stops the dataset; --ignore-extra leaves it out, of JSON objects as well."""
    write("data/users.csv", "id,nick,name,email", "1,al,Alice,a@x.io")
    assert main(["-qq", "users"]) == 3
    assert "data/users.csv: the header names 'nick'" in capsys.readouterr().err
    assert main(["-qq", "users", "--ignore-extra"]) == 0
    assert rows("users") == [(1, "Alice", "a@x.io")]
    write("u.ndjson", '{"id": 2, "name": "B", "email": "b@x.io", "nick": null}')
    assert main(["-qq", "users=u.ndjson"]) == 1
    assert main(["-qq", "users=u.ndjson", "--ignore-extra"]) == 0
    assert len(rows("users")) == 2


def test_the_next_command_repeats_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    """What is to be typed next has the flags that matter for it, quoted for a shell."""
    main(["-q", "--into", "my databases", "--rejects", "r", "--on-conflict", "update", "--ignore-extra"])
    told = "python -m loader --into 'my databases' --rejects r --on-conflict update --ignore-extra --data r"
    assert told in capsys.readouterr().out
    assert stored("my databases") == (8, 8, 6)
    assert left() == {"my databases", "r", "result.json"}


def test_the_result_can_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """With --export - stdout has the result and nothing else; the summary is on stderr."""
    assert main(["--export", "-"]) == 1
    out, err = capsys.readouterr()
    assert totals(json.loads(out))["inserted"] == 22
    assert "Why rejected" in err
    assert left() == {"users.db", "products.db", "orders.db", "rejects"}


def test_result_and_rejects_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """With none neither is written, nor told of."""
    assert main(["--export", "none", "--rejects", "none"]) == 1
    assert left() == {"users.db", "products.db", "orders.db"}
    out = capsys.readouterr().out
    assert "Result:" not in out
    assert "Rejects:" not in out
    assert "Mend" not in out


def test_quiet_and_quieter(capsys: pytest.CaptureFixture[str]) -> None:
    """-q says nothing while it loads, -qq nothing at all; errors are told in any case."""
    main(["-q"])
    out, err = capsys.readouterr()
    assert "Why rejected" in out
    assert err == ""
    main(["-qq"])
    assert capsys.readouterr() == ("", "")
    write("users.csv", "wrong")
    assert main(["-qq", "users=users.csv"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("loader: users.csv: the header lacks 'id', 'name', 'email' of users")


def test_a_traceback_is_shown_with_v_only(capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line; -v adds where it was raised."""
    write("data/users.csv", "wrong")
    main(["-q"])
    assert "Traceback" not in "".join(capsys.readouterr())
    main(["-q", "-v"])
    assert "Traceback" in capsys.readouterr().err
    main(["customers"])
    assert "Traceback" not in capsys.readouterr().err
    main(["customers", "-v"])
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_ends_with_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody foresaw is called a bug, in one line, and -v shows where."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody saw this")

    monkeypatch.setattr("loader.pipeline.judge", broken)
    assert main(["-qq"]) == 4
    err = capsys.readouterr().err
    assert err.startswith("loader: a bug in loader, please report it: ZeroDivisionError('nobody saw this')")
    assert "Traceback" not in err
    assert main(["-qq", "-v"]) == 4
    assert "Traceback" in capsys.readouterr().err
    assert stored() == (0, 0, 0)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--version and --help end with 0, on stdout."""
    for flag, told in (("--version", f"loader {loader.__version__}"), ("--help", "Usage: python -m loader")):
        with pytest.raises(SystemExit) as end:
            main([flag])
        assert end.value.code == 0
        out, err = capsys.readouterr()
        assert out.startswith(told)
        assert err == ""


# --- what cannot be finished -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\xff\xfei\x00d\x00", "is UTF-16"),
        (b"\x1f\x8b\x08\x00", "is compressed by gzip"),
        (b"\x28\xb5\x2f\xfd\0", "is compressed by zstd"),
        (b"id,name\n1,a\n", "lacks 'email'"),
        (b"id,name,email,id\n", "more than once"),
        (b"id,name,e-mail,email\n", "'e-mail'"),
        (b'"id,name,email\n', "not a header"),
        (b"id,name,em\xff\n", "cannot be decoded: it holds the byte 0xFF"),
    ],
)
def test_a_source_that_is_unusable(content: bytes, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its dataset fails and is not written, what refers to it stops, the others are loaded; the file is named."""
    Path("data/users.csv").write_bytes(content)
    assert main(["-q"]) == 3
    document = result()
    assert [each["status"] for each in document["datasets"]] == ["failed", "complete", "stopped"]
    assert document["run"]["status"] == "failed"
    [problem, stopped] = document["problems"]
    assert problem["dataset"] == "users"
    assert problem["title"] == "source cannot be used"
    assert problem["detail"].startswith("data/users.csv")
    assert told in problem["detail"]
    assert stopped["dataset"] == "orders"
    err = capsys.readouterr().err
    assert problem["detail"] in err
    assert "Traceback" not in err
    assert stored_if_there() == {"products": 8, "orders": 0}
    assert of(document, "orders")["untried"] == of(document, "orders")["read"] - of(document, "orders")["rejected"]
    shutil.copy(SAMPLE / "users.csv", "data")
    assert main(["-qq"]) == 1
    assert stored() == (8, 8, 6)


@pytest.mark.parametrize("name", ["users.csv.gz", "users.json"])
def test_a_damaged_file_stops_before_anything_is_stored(name: str) -> None:
    """Damage at the end of a file is found before its first row is stored."""
    Path("data/users.csv").unlink()
    if name.endswith(".gz"):
        import gzip

        text = gzip.compress((SAMPLE / "users.csv").read_bytes())
    else:
        text = b'[{"id": 1, "name": "A", "email": "a@x.io"}, {"id": 2, "name": "B", "email": "b@x.io"}  '
    Path("data", name).write_bytes(text[:-2])
    assert main(["-qq"]) == 3
    assert f"data/{name}" in result()["problems"][0]["detail"]
    assert stored_if_there() == {"products": 8, "orders": 0}


@pytest.mark.parametrize("extra", [[], ["--check"]])
def test_a_database_that_is_a_text_file_is_left_alone(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no database is named, and keeps every byte; the datasets that need it stop."""
    file = write("users.db", "my notes, which are none of your business", *["more"] * 1_000)
    text = file.read_bytes()
    assert main(["-qq", *extra]) == 3
    assert file.read_bytes() == text
    err = capsys.readouterr().err
    assert err.splitlines()[0].startswith("loader: users.db: it is not an SQLite database")
    assert [each["status"] for each in result()["datasets"]] == ["failed", "complete", "stopped"]


def test_a_table_that_does_not_fit_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A database with another table of the name is refused, unchanged, and says why."""
    with closing(sqlite3.connect("users.db")) as connection, connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    text = Path("users.db").read_bytes()
    assert main(["-qq"]) == 3
    assert "users.db: its table users does not fit: it has no column email" in capsys.readouterr().err
    assert Path("users.db").read_bytes() == text
    assert left() >= {"users.db", "products.db", "orders.db"}


def test_a_locked_database_is_waited_for_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where another program holds the lock the dataset fails, and running again finishes it."""
    main(["-qq", "--into", "."])
    Path("orders.db").unlink()
    write("data/users.csv", "id,name,email", "11,New,new@x.io")
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    with locked("users.db"):
        assert main(["-qq"]) == 3
        assert "users.db: another program has locked it: run again when that is done" in capsys.readouterr().err
    assert main(["-qq"]) == 1
    assert (11, "New", "new@x.io") in rows("users")


@contextmanager
def locked(path: str) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_an_output_that_cannot_be_written_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    """The load is completed, the output is named, and the exit code says that something is missing."""
    assert main(["-q", "--export", "/dev/full", "--rejects", "/proc/none"]) == 3  # where no directory can be made
    assert stored() == (8, 8, 6)
    out, err = capsys.readouterr()
    assert "loader: /dev/full cannot be written" in err
    assert "loader: /proc/none/users.csv cannot be written" in err
    assert "run the same command again" in out
    assert left() == {"users.db", "products.db", "orders.db"}


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_rejects_path_that_is_a_directory_is_refused(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What has the name of a rejects file and is none, whatever it is, is refused and no bug."""
    Path(f"rejects/users.{ending}").mkdir(parents=True)
    assert main([]) == 2
    assert f"rejects/users.{ending}" in capsys.readouterr().err
    assert left() == {"rejects"}


# --- streams that fail, and terminals of all kinds -------------------------------------------------------------------


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("limit", ["4", "3%"])
def test_a_stream_that_takes_nothing_does_not_disturb(streams: str, limit: str) -> None:
    """With a stream closed or full the load has the same end, and writes the same files."""
    arguments = " ".join(command("--max-rejects", limit))
    code = subprocess.run(f"{arguments} {streams}", shell=True, env=environment(), capture_output=True, timeout=60)
    assert code.returncode == (0 if limit == "4" else 3)
    assert b"Traceback" not in code.stdout + code.stderr
    assert stored()[:2] == (8, 8)
    assert left() >= {"users.db", "products.db", "orders.db", "result.json", "rejects"}


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("live", ["never", "always"])
def test_a_reader_that_is_gone_does_not_disturb(stream: str, live: str) -> None:
    """Where nobody reads a stream any more the load goes on, to the same end and exit code."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        streams: dict[str, Any] = {stream: writer}
        done = program("--max-rejects", "4", "--live", live, **streams)
    finally:
        os.close(writer)
    assert stored() == (8, 8, 6)
    assert done.returncode == 0
    assert b"Traceback" not in (done.stdout or b"") + (done.stderr or b"")
    assert totals(result()) == {"read": 30, "inserted": 22, "rejected": 8}


def test_head_may_have_enough() -> None:
    """With `| head -1` the program ends with its own exit code, and is silent about the pipe."""
    line = f"{{ {' '.join(command('-q', '--max-rejects', '4'))}; echo $? >code; }} | head -1"
    done = subprocess.run(line, shell=True, env=environment(), capture_output=True, timeout=60, check=True)
    assert done.stdout.startswith(b"Dataset")
    assert done.stderr == b""
    assert Path("code").read_text(encoding="utf-8") == "0\n"
    assert stored() == (8, 8, 6)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "10"},
        {"COLUMNS": "99999"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        {"FORCE_COLOR": "1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("live", ["auto", "always"])
def test_no_terminal_disturbs(env: dict[str, str], live: str) -> None:
    """Whatever the terminal is said to be, the load ends as it should and the table can be read."""
    done = program("--live", live, env=env)
    assert done.returncode == 1
    assert stored() == (8, 8, 6)
    assert b"Traceback" not in done.stderr
    words = done.stdout.split()
    assert b"8" in words
    if "PYTHONIOENCODING" in env:
        assert (done.stdout + done.stderr).isascii()
        assert b"\\u" not in done.stdout + done.stderr
    coloured = b"\x1b[3" in done.stdout
    assert coloured == (env == {"FORCE_COLOR": "1"})
    if live == "auto" and "FORCE_COLOR" not in env:
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", ["0", "1", "10", "99999", "many"])
def test_help_fits_any_width(columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is given for whatever number of columns."""
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "--max-rejects" in capsys.readouterr().out


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_for_a_stream_that_takes_nothing(flag: str, buffering: dict[str, str]) -> None:
    """Help that cannot be written is told in a line; to a reader that has had enough nothing is told."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(flag), env=environment(**buffering), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (3, b"loader: stdout cannot be written: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = subprocess.run(
            command(flag), env=environment(**buffering), stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_colour_is_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """--color always colours a pipe, --color never not even a terminal."""
    main(["-q", "--color", "always"])
    assert "\x1b[33m" in capsys.readouterr().out
    main(["-q", "--color", "never"])
    assert "\x1b[3" not in capsys.readouterr().out


# --- signals ---------------------------------------------------------------------------------------------------------

SIZES = (30_000, 6_000, 60_000)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that take a second or so, and beside them what becomes of them without interruption."""
    directory = tmp_path_factory.mktemp("big")
    generate(directory, *SIZES, faults=0.01, seed=3, form="csv")
    done = subprocess.run(command("-qq", "--data", "."), cwd=directory, env=environment(), timeout=60, check=False)
    assert done.returncode == 1
    return directory


@contextmanager
def started(*arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator["subprocess.Popen[bytes]"]:
    """The program at work, which is not left behind whatever happens."""
    with subprocess.Popen(
        command(*arguments), env=environment(), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Look at a condition until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def _some_users() -> bool:
    """Whether a batch is in the write-ahead log; a connection of its own would get in the way."""
    log = Path("users.db-wal")
    return log.exists() and log.stat().st_size > 2**16


def final_state(directory: Path | str) -> tuple[Any, ...]:
    """The databases and the rejects."""
    files = [Path(directory, "rejects", f"{name}.csv").read_bytes() for name in NAMES]
    return [rows(name, directory) for name in NAMES], files


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_stops_the_load_in_order(big: Path, number: int, code: int) -> None:
    """The exit code tells the signal, the result equals the databases, and running again ends as if nothing was."""
    shutil.rmtree("data")
    for name in NAMES:
        os.link(big / f"{name}.csv", f"{name}.csv")
    with started("--data", ".") as process:
        wait_until(_some_users)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    assert b"Interrupted. Run the same command again" in out
    document = result()
    assert document["run"]["status"] == "interrupted"
    assert document["run"]["exit_code"] == code
    assert 0 < document["totals"]["inserted"] < sum(SIZES) * 0.95
    assert tuple(each["inserted"] for each in document["datasets"]) == stored()
    for each in document["datasets"]:
        assert each["read"] == sum(each[end] for end in ("inserted", "updated", "unchanged", "rejected", "untried"))
    assert not list(Path().rglob(".*"))
    assert main(["-qq", "--data", "."]) == 1
    assert final_state(".") == final_state(big)


def write_slow_model(is_deaf: bool = False) -> None:
    """A model of users that takes a minute for each, or for ever, whatever is raised meanwhile."""
    write(
        "slow.py",
        "import time",
        "from attrs import define, field",
        "from loader import Dataset",
        "def wait(*_):",
        "    try:",
        "        time.sleep(60)",
        "    except BaseException:",
        "        wait() if DEAF else None; raise",
        f"DEAF = {is_deaf}",
        "@define",
        "class User:",
        "    id: int = field(validator=wait)",
        "    name: str",
        "    email: str",
        "USERS = Dataset(name='users', model=User, key='id')",
    )


def test_a_second_signal_ends_at_once() -> None:
    """The first signal waits for what is being done, here by a model that cannot be stopped; the second does not."""
    write_slow_model(is_deaf=True)
    with started("users", "--models", "slow.py", "--live", "always") as process:
        assert process.stderr
        process.stderr.read(1)  # the view is there, and so are the handlers
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.4)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == 130
        assert time.monotonic() - began < 1
        assert process.stderr.read().endswith(b"\x1b[?25h")
    assert not rows("users")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_load_does_not_spoil_the_result(number: int) -> None:
    """Stopped when all is stored, while the result is being written: it is there nonetheless, whole."""
    script = (
        "import os, sys, threading, time; from loader import cli; write = cli.write_result\n"
        "threading.Thread(target=time.sleep, args=(1,), daemon=True).start()  # as that of a database may be, still\n"
        "def stop(*arguments):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    write(*arguments)\n"
        "cli.write_result = stop\n"
        "sys.exit(cli.main(['-qq']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    assert totals(result()) == {"read": 30, "inserted": 22, "rejected": 8}
    assert left() == {"users.db", "products.db", "orders.db", "result.json", "rejects"}


def test_a_signal_does_not_spoil_a_result_that_goes_to_a_file_by_stdout() -> None:
    """Nobody is waited for there, so nothing is given up."""
    script = (
        "import os, sys; from loader import cli; put = cli._Command._print\n"
        "def stop(*arguments):\n"
        f"    os.kill(os.getpid(), {int(signal.SIGTERM)})\n"
        "    put(*arguments)\n"
        "cli._Command._print = stop\n"
        "sys.exit(cli.main(['-qq', '--export', '-']))\n"
    )
    with open("out.json", "wb") as out:
        done = subprocess.run([sys.executable, "-c", script], env=environment(), stdout=out, timeout=60, check=False)
    assert done.returncode == 1
    assert totals(json.loads(Path("out.json").read_bytes())) == {"read": 30, "inserted": 22, "rejected": 8}


@pytest.mark.parametrize("export", ["pipe", "-"])
def test_a_signal_ends_the_wait_for_a_reader_of_the_result(export: str) -> None:
    """All is stored, and nobody reads the pipe that the result is sent to: that is told, and the program ends."""
    os.mkfifo("pipe")
    full = os.open("pipe", os.O_RDWR | os.O_NONBLOCK) if export == "-" else os.open(os.devnull, os.O_RDWR)
    with suppress(BlockingIOError):
        while export == "-":
            os.write(full, b"x" * 4096)
    os.set_blocking(full, True)
    arguments = command("-qq", "--export", export, "users")
    with subprocess.Popen(arguments, env=environment(), stdout=full, stderr=subprocess.PIPE) as process:
        try:
            wait_until(Path("rejects/users.csv").exists)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(2) == 3
        finally:
            process.kill()
            os.close(full)
        assert process.stderr
        told = process.stderr.read().decode()
    assert told == "loader: the result cannot be written: nobody has read it before there was a signal\n"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["users.db", "users.db-journal", "users.db-wal", "users.db-shm"])
@pytest.mark.parametrize("flags", [[], ["--check"], ["--atomic", "--max-rejects", "9"], ["--jobs", "2"]], ids=str)
def test_what_is_no_file_is_no_database(make: Callable[[Path], None], name: str, flags: list[str]) -> None:
    """Neither it nor what SQLite would read beside it: it is named, and the others are loaded."""
    main(["-qq"] if "-" in name else ["-qq", "products"])
    Path(name).unlink(missing_ok=True)
    make(Path(name))
    done = subprocess.run(command("-qq", *flags), env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 3
    problem = f"{name} is not a file: move it away, or choose another directory with --into"
    assert (
        done.stderr.splitlines()[0] == f"loader: {Path(name).resolve() if '-' in name else name}{problem[len(name) :]}"
    )
    assert of(result(), "users")["status"] == "failed"


def test_what_has_the_name_of_a_list_of_journals_is_left() -> None:
    """Only a file may be one; a pipe would be read for ever."""
    os.mkfifo("users.db-mj12345678")
    done = subprocess.run(command("-qq", "users"), env=environment(), timeout=20)
    assert done.returncode == 1
    assert len(rows("users")) == 8


@pytest.mark.parametrize("place", ["plain", "plain/rejects", "dangling", "dangling/rejects"])
def test_what_is_in_the_way_of_rejects_is_told_before_the_load(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else they would be lost when all is stored."""
    write("plain", "text")
    Path("dangling").symlink_to("nowhere/there")
    assert main(["-qq", "--rejects", place]) == 2
    told = " is not a directory, where rejects are to go: choose another with --rejects\n"
    assert capsys.readouterr().err == f"loader: {place.partition('/')[0]}{told}"
    assert left() == {"plain", "dangling"}


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize("most", range(5, 9))
def test_as_few_files_as_python_begins_with(most: int) -> None:
    """What asyncio leaves half done, where it gets none, prints a traceback of its own."""
    import resource

    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # noqa: E731
    done = subprocess.run(command("-qq"), env=environment(), capture_output=True, preexec_fn=limit, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith(b"loader: ")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [[], ["--check"], ["--verify"], ["--atomic"], ["--jobs", "2"]], ids=str)
def test_a_database_that_is_a_link_to_itself_is_told(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It leads nowhere, and is named."""
    Path("users.db").symlink_to("users.db")
    assert main(["-qq", *flags]) in (2, 3)
    assert "users.db" in (told := capsys.readouterr().err)
    assert "bug" not in told


@pytest.mark.parametrize(
    "arguments",
    [["--export", "self"], ["--into", "self"], ["--models", "self"], ["users=self"], ["--data", "self"]],
    ids=str,
)
def test_a_place_that_is_a_link_to_itself_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is to be read or written there, it is named."""
    Path("self").symlink_to("self")
    assert main(["-qq", *arguments]) in (2, 3)
    assert "self" in (told := capsys.readouterr().err)
    assert "bug" not in told


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """Under nohup, which ignores SIGHUP, a hang-up does not stop the load."""
    main(["-qq", "users"])
    write("data/users.csv", "id,name,email", "11,New,new@x.io")
    arguments = ["sh", "-c", f"trap '' HUP; exec {' '.join(command('users'))}"]
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            with locked("users.db"):
                assert process.stderr
                process.stderr.readline()
                process.send_signal(signal.SIGHUP)
                time.sleep(0.2)
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert len(rows("users")) == 9


def test_the_installed_command_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """`loader` and `python -m loader` are one function, which takes its arguments from the command line."""
    arguments: Sequence[str] = ["loader", "-qq", "users", "--rejects", "none"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert import_module("loader.__main__").main() == 1
    assert left() == {"users.db", "result.json"}


def test_the_next_command_can_be_typed_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    """A directory whose name has a blank is quoted."""
    main(["--rejects", "my rejects"])
    assert "--data 'my rejects'" in capsys.readouterr().out


def test_a_result_that_is_not_written_is_not_pointed_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary does not name a result that is not there."""
    assert main(["--export", "/dev/full"]) == 3
    assert "Result:" not in capsys.readouterr().out


def test_what_was_typed_is_shown_without_its_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a flag nor a file name gets an escape sequence to the terminal, be it in a message or a traceback."""
    assert main(["--f\x1b[31moo"]) == 2
    assert main(["-v", "users=\x1b[31m.csv"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "unrecognized arguments: --f\\x1b[31moo; see --help" in err
    assert "Traceback" in err


def test_a_signal_before_the_load_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C that comes when signals are heeded, and the load has not begun, is not lost."""
    load = cli._Command._load

    async def load_late(self: cli._Command, executor: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await load(self, executor)

    monkeypatch.setattr(cli._Command, "_load", load_late)
    assert main([]) == 130
    assert result()["totals"]["inserted"] == 0


def test_a_signal_as_the_load_ends_does_not_spoil_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C just behind the last event leaves the report of a load that is complete."""

    async def load_and_interrupt(*args: Any, **options: Any) -> Any:
        report = await loader.load(*args, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return report

    monkeypatch.setattr(cli, "load", load_and_interrupt)
    assert main(["--live", "always"]) == 1
    assert stored() == (8, 8, 6)
    assert result()["run"]["status"] == "rejects"


def test_ctrl_c_during_the_start_is_no_traceback() -> None:
    """Whenever it comes once the program has begun, nothing but the exit code tells of it."""
    code = (
        "import builtins, sys; real = builtins.__import__\n"
        "def late(name, *rest):\n"
        "    if name == 'loader.cli': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "import loader.__main__ as start; builtins.__import__ = late; sys.exit(start.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")
