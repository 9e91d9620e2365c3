"""The settings of a run: flags win over LOADER_* variables, these over [tool.loader], these over defaults."""

import codecs
import io
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from loader.core.errors import UsageError
from loader.core.limits import RejectLimit


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise UsageError(f"choose one of {', '.join(choices)}, not {text!r}")
        return text

    return parse


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise UsageError(f"choose true or false, not {text!r}")
    return text.lower() in ("1", "true", "yes")


def _delimiter(text: str) -> str:
    text = "\t" if text in ("tab", r"\t") else text
    if len(text) != 1 or not text.isascii() or text.isalnum() or text in '"_\\\r\n\0':
        raise UsageError(
            f"choose tab, or one ASCII character that is no letter, digit, quote, backslash or _, not {text!r}"
        )
    return text


def _encoding(text: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(), codecs.lookup(text).name, "surrogateescape").read()
    except (LookupError, ValueError):
        raise UsageError(f"Python knows no encoding of text by the name {text!r}") from None
    return text


def _path(text: str) -> Path:
    if "://" in text:
        raise UsageError("choose a file or directory; a URL is not possible here")
    return Path(text)


def _path_or_none(text: str) -> Path | None:
    return None if text == "none" else _path(text)


def _directory(text: str) -> Path:
    if "://" in text:
        raise UsageError("databases are kept in a directory; a URL is not yet possible")
    return Path(text)


def _models(text: str) -> str:
    if not text.endswith(".py") and not all(map(str.isidentifier, text.split("."))):
        raise UsageError(f"choose a module, as shop.datasets, or a file, as shop.py, not {text!r}")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"choose 0, 1 or 2, not {text!r}")
    return min(int(text), 2)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 256):
        raise UsageError(f"choose a number up to 256, not {text!r}")
    return int(text)


@frozen
class Option:
    """A setting: its flags, how its text is read, and its default."""

    flags: tuple[str, ...]
    help: str
    default: Any
    parse: Callable[[str], Any]
    metavar: str | None = None
    action: str = "store"

    @property
    def name(self) -> str:
        return self.flags[-1].removeprefix("--")


OPTIONS = [
    Option(("-d", "--data"), "where NAME.csv, .json, .ndjson ... are looked for (data)", Path("data"), _path, "DIR"),
    Option(
        ("-m", "--models"),
        "the datasets to load, instead of users, products, orders",
        None,
        _models,
        "MODULE|FILE",
    ),
    Option(("-o", "--into"), "where the databases are kept (.)", Path(), _directory, "DIR"),
    Option(
        ("--export",),
        "the JSON result; - for stdout, none for none (result.json)",
        Path("result.json"),
        _path_or_none,
        "FILE",
    ),
    Option(
        ("--rejects",),
        "the rejected rows, one file per dataset; none for none (rejects)",
        Path("rejects"),
        _path_or_none,
        "DIR",
    ),
    Option(
        ("--format",),
        "how stdin, and a file whose name does not tell, are read",
        None,
        _choice("csv", "tsv", "json", "ndjson", "jsonl", "parquet"),
        "csv|tsv|json|ndjson|jsonl|parquet",
    ),
    Option(("--delimiter",), "what divides the cells of CSV; tab for a tab (,)", ",", _delimiter, "CHAR"),
    Option(
        ("--encoding",), "how files without a UTF-8 byte order mark are encoded (utf-8)", "utf-8", _encoding, "NAME"
    ),
    Option(("--check",), "validate everything, write no database", False, _switch, action="store_true"),
    Option(
        ("--verify",),
        "look through the databases that are there instead, and list what is faulty",
        False,
        _switch,
        action="store_true",
    ),
    Option(
        ("--atomic",),
        "store everything or nothing; rejects without --max-rejects: nothing",
        False,
        _switch,
        action="store_true",
    ),
    Option(
        ("--on-conflict",),
        "what happens to a record whose key an earlier run stored with other values (reject)",
        "reject",
        _choice("reject", "update"),
        "reject|update",
    ),
    Option(
        ("--max-rejects",),
        "more than this in a dataset, and it fails; up to it, exit code 0",
        None,
        RejectLimit.parse,
        "N|P%",
    ),
    Option(("--ignore-extra",), "leave out columns that a dataset does not have", False, _switch, action="store_true"),
    Option(("--jobs",), "processes that parse; 0 for none (as many as pay)", None, _number, "N"),
    Option(
        ("--live",),
        "a live table instead of lines (auto: on a terminal)",
        "auto",
        _choice("auto", "always", "never"),
        "auto|always|never",
    ),
    Option(("--color",), "colours (auto)", "auto", _choice("auto", "always", "never"), "auto|always|never"),
    Option(("-q", "--quiet"), "no progress; -qq: no summary either", 0, _count, action="count"),
    Option(("-v", "--verbose"), "tracebacks with errors", False, _switch, action="store_true"),
]


@frozen
class Settings:
    """What was asked for: the value of each option, and where each that is not a default comes from."""

    names: Sequence[str]
    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def gather(given: Mapping[str, Any], environment: Mapping[str, str], configuration: Path) -> Settings:
    """Gather the settings from parsed flags, LOADER_* variables and a pyproject.toml, if there is one.

    Raises UsageError, naming the flag, variable or file in which one is wrong.
    """
    known = {option.name: option for option in OPTIONS}
    layers: list[tuple[str, str, object]] = [
        *((str(configuration), name, value) for name, value in _configured(configuration, known).items()),
        *((variable, name, environment[variable]) for name in known if (variable := _variable(name)) in environment),
        *((f"--{name}", name, given[_key(name)]) for name in known if _key(name) in given),
    ]
    values = {name: option.default for name, option in known.items()}
    origins = {}
    for origin, name, value in layers:
        try:
            values[name] = known[name].parse(str(value))
        except UsageError as error:
            raise UsageError(
                f"{origin}: {name}: {error}" if origin == str(configuration) else f"{origin}: {error}"
            ) from None
        origins[name] = origin
    return Settings(given["names"], values, origins)


def _key(name: str) -> str:
    return name.replace("-", "_")


def _variable(name: str) -> str:
    return f"LOADER_{_key(name).upper()}"


def _configured(configuration: Path, known: Collection[str]) -> dict[str, object]:
    try:
        tables = tomllib.loads(configuration.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{configuration} cannot be read: {error}") from error
    tool = tables.get("tool", {})
    table = tool.get("loader", {}) if isinstance(tool, dict) else tool
    if not isinstance(table, dict):
        raise UsageError(f"{configuration}: [tool.loader] is not a table")
    for name, value in table.items():
        if name not in known or not isinstance(value, str | int | float):
            raise UsageError(
                f"{configuration}: [tool.loader] takes {', '.join(known)}, each a text or number, not {name}"
            )
    return dict(table)
