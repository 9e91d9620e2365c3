"""The command line of a loader in which one thing is broken: `python -m tests.torture.mutants NAME ARGUMENT...`."""

import inspect
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from attrs import frozen


@frozen
class Mutant:
    """A function of loader, as `module:name`, and what to replace in its source by what."""

    function: str
    edits: Mapping[str, str]

    def apply(self) -> None:
        """Put the function, edited, in the place of the real one, also where other modules have imported it."""
        path, _, name = self.function.replace(":", ".").rpartition(".")
        owner, real = resolve_name(path), resolve_name(self.function)
        found: dict[str, Any] = {}
        exec(compile(self.edited(), f"<{self.function}>", "exec"), inspect.unwrap(real).__globals__, found)
        for place in (owner, *importers(name, real)):
            setattr(place, name, found[name])

    def edited(self) -> str:
        """The source of the function with the edits, each of which is to be made once."""
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(resolve_name(self.function))))
        for old, new in self.edits.items():
            assert source.count(old) == 1, f"{self.function} has changed: {old!r} is to be found in it once"
            source = source.replace(old, new)
        return source


def importers(name: str, function: object) -> Sequence[ModuleType]:
    """The modules of loader that have been imported, and have this function by its name."""
    loaded = [module for path, module in sys.modules.items() if path.partition(".")[0] == "loader"]
    return [module for module in loaded if getattr(module, name, None) is function]


_FREE = "        held = await table.insert_free(free)\n"

MUTANTS: Mapping[str, Mutant] = {
    "announce before commit": Mutant(
        "loader.pipeline:_Lane._stored", {_FREE: f"        self._ledger.add(parsed.keys)\n{_FREE}"}
    ),
    "synchronous=NORMAL": Mutant("loader.targets.sqlite:SqliteTarget._database", {"= FULL": "= NORMAL"}),
    "synchronous=OFF": Mutant("loader.targets.sqlite:SqliteTarget._database", {"= FULL": "= OFF"}),
    "result written in place": Mutant(
        "loader.export:write_result", {"if path.exists() and not path.is_file():": "if True:"}
    ),
    "verify looks up no reference": Mutant(
        "loader.verifying:_Walk._absent", {"await upstream[name].missing(referred(group, batch))": "set()"}
    ),
    "verify does not look whether what is referred to is damaged": Mutant(
        "loader.verifying:_Walk._upstream", {"await self._proofs.of(job.target)": "pass"}
    ),
    "verify counts what is faulty as sound": Mutant(
        "loader.verifying:_Walk._look_through", {"len(records) - len(found)": "len(records)"}
    ),
    "verify takes a database for undamaged": Mutant(
        "loader.targets.sqlite:SqliteTarget.verify", {'"PRAGMA integrity_check"': "\"SELECT 'ok'\""}
    ),
    "verify leaves a trace": Mutant(
        "loader.targets.sqlite:SqliteTarget._without_a_trace", {'"&immutable=1" if before else ""': '""'}
    ),
    "verify minds the case": Mutant(
        "loader.targets.sqlite:_exactly", {"'NOCASE' if at in group.nocase else 'BINARY'": "'BINARY'"}
    ),
    "verify finds all of them to be the first": Mutant(
        "loader.targets.sqlite:_StoredTable._contests", {"number > 1": "number > 9"}
    ),
    "verify does not ask the validators": Mutant("loader.core.restoring:_passes", {"is_sure(check, values)": "True"}),
    "verify takes any value for one of its type": Mutant(
        "loader.core.restoring:_draft", {"value = each.restored(kept)": "value = kept"}
    ),
    "all is committed with write-ahead logs": Mutant(
        "loader.targets.staging:SqliteStaging._joined", {"= DELETE": "= WAL", '"delete"': '"wal"'}
    ),
    "one database is committed after the other": Mutant(
        "loader.targets.staging:SqliteStaging._write",
        {
            "await target.store(connection, schema)": (
                "await target.store(connection, schema); "
                "await connection.run('COMMIT'); await connection.run('BEGIN IMMEDIATE')"
            )
        },
    ),
    "nothing of all is synced": Mutant("loader.targets.staging:SqliteStaging._joined", {"= EXTRA": "= OFF"}),
    "the log of a database is not begun again": Mutant(
        "loader.targets.staging:SqliteStaging._joined", {"journal_mode = WAL": "journal_mode"}
    ),
    "nor is the removal of its journal synced": Mutant(
        "loader.targets.staging:SqliteStaging._joined", {"journal_mode = WAL": "journal_mode", "= EXTRA": "= FULL"}
    ),
    "all is told before it is stored": Mutant(
        "loader.pipeline:_all_or_none",
        {
            "await to_its_end(staging.commit(), staging.hurry)": (
                "withheld.release(True); await to_its_end(staging.commit(), staging.hurry)"
            )
        },
    ),
    "commit of all not shielded": Mutant(
        "loader.pipeline:_all_or_none",
        {"await to_its_end(staging.commit(), staging.hurry)": "await staging.commit()"},
    ),
    "rejects are no obstacle": Mutant(
        "loader.together:Withheld.is_storable", {"not self.report.totals.rejected": "True"}
    ),
    "commit not shielded": Mutant(
        "loader.pipeline:_Lane._carry",
        {
            "await to_its_end(self._commit(portion, settled, absent, table), hurry)": (
                "await self._commit(portion, settled, absent, table)"
            )
        },
    ),
    "gather swallows exceptions": Mutant(
        "loader.pipeline:_all",
        {"await asyncio.gather(*lanes)\n": "await asyncio.gather(*lanes, return_exceptions=True)\n"},
    ),
    "a lane's problem is ignored": Mutant("loader.pipeline:_Lane._load", {"raise self._problem": "pass"}),
    "OR REPLACE": Mutant(
        "loader.targets.sqlite:SqliteTable._write", {"OR ABORT": "OR REPLACE", "{rows}{on_conflict}": "{rows}"}
    ),
    "cells as markup, in lines": Mutant(
        "loader.view:PlainView._say", {"Text(safe(line))": "Text.from_markup(safe(line))"}
    ),
    "cells as markup, live": Mutant(
        "loader.view:LiveView._rejects", {"Text(safe(text))": "Text.from_markup(safe(text))"}
    ),
    "cells unescaped": Mutant("loader.view:safe", {"if text.isprintable():": "if True:"}),
    "passwords told": Mutant("loader.view:safe", {'_PASSWORD.sub(r"\\1:***@", str(text))': "str(text)"}),
    "strict off in csv": Mutant("loader.sources.csv:_split", {"strict=True": "strict=False"}),
    "grammar off in csv": Mutant(
        "loader.sources.csv:_Row.of",
        {"_split([text], delimiter)[0] if readable else None": "_split([text], delimiter)[0]"},
    ),
}


if __name__ == "__main__":
    name, *sys.argv[1:] = sys.argv[1:]
    MUTANTS[name].apply()
    from loader.__main__ import main

    sys.exit(main())
