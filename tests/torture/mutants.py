"""The command line of a loader in which one thing is broken: `python -m tests.torture.mutants NAME ARGUMENT...`."""

import inspect
import sys
import textwrap
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from attrs import frozen


@frozen
class Mutant:
    """A function of loader, as `module:name`, and what to replace in its source by what."""

    function: str
    edits: Mapping[str, str]

    def apply(self) -> None:
        """Put the function, edited, in the place of the real one, also where its own module has imported it."""
        module, _, path = self.function.partition(":")
        owner_path, _, name = path.rpartition(".")
        owner = resolve_name(f"{module}:{owner_path}" if owner_path else module)
        function: Any = inspect.unwrap(getattr(owner, name))
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in self.edits.items():
            assert source.count(old) == 1, f"{self.function} has changed: {old!r} is to be found in it once"
            source = source.replace(old, new)
        found: dict[str, Any] = {}
        exec(compile(source, f"<{self.function}>", "exec"), function.__globals__, found)
        setattr(owner, name, found[name])


_HAD_RECORDS = "    ledger.had_records = table.had_records\n"

MUTANTS: Mapping[str, Mutant] = {
    "announce before commit": Mutant(
        "loader.pipeline:_Lane._commit", {_HAD_RECORDS: f"        ledger.add(verdict.keys)\n{_HAD_RECORDS}"}
    ),
    "synchronous=NORMAL": Mutant("loader.targets.sqlite:SqliteTarget._database", {"= FULL": "= NORMAL"}),
    "result written in place": Mutant(
        "loader.export:write_result", {"if path.exists() and not path.is_file():": "if True:"}
    ),
}


if __name__ == "__main__":
    name, *sys.argv[1:] = sys.argv[1:]
    MUTANTS[name].apply()
    from loader.__main__ import main

    sys.exit(main())
