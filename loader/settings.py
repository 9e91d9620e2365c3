"""The settings of a run: flags win over LOADER_* variables, these over [tool.loader], these over defaults."""

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


def _path_or_none(text: str) -> Path | None:
    return None if text == "none" else Path(text)


def _directory(text: str) -> Path:
    if "://" in text:
        raise UsageError("databases are kept in a directory; a URL is not yet possible")
    return Path(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"choose 0, 1 or 2, not {text!r}")
    return min(int(text), 2)


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
    Option(("-d", "--data"), "where NAME.csv, .json, .ndjson ... are looked for (data)", Path("data"), Path, "DIR"),
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
    Option(("--check",), "validate everything, write no database", False, _switch, action="store_true"),
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
