"""The command line: from arguments and configuration to jobs and observers, and from the report to an exit code."""

import argparse
import asyncio
import codecs
import gc
import glob
import io
import os
import shlex
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, NoReturn

from rich.console import Console
from rich.text import Text
from rich_argparse import RawDescriptionRichHelpFormatter

import loader
from loader.core.dataset import Dataset
from loader.core.errors import OutputError, UsageError, lacking
from loader.core.events import Event
from loader.executors import Here, end_processes, processes
from loader.export import RejectsWriter, result, write_result
from loader.models import find_datasets
from loader.pipeline import Job, load, new_report
from loader.settings import OPTIONS, Settings, gather
from loader.sources import FileSource, file_source, find_source
from loader.sources.files import STDIN
from loader.targets import PATIENCE
from loader.targets.sqlite import SqliteTarget
from loader.threads import make_sure_of_files, try_for
from loader.verifying import verify
from loader.view import LiveView, PlainView, console, safe, summary

COMMAND = "python -m loader"
BUG = 4
_SIZE_THAT_PAYS = 2**24  # bytes to load, for which processes save more than it takes to begin them
_SIGNALS = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]

DESCRIPTION = """\
Load related records into databases of their own, at the same time, and account for every one.

Without a NAME, every dataset is loaded whose file is there: users, products, orders.
A NAME may be given several files, or a pattern as 'parts/*.csv'; they are read in that order.
"""
EPILOG = """\
Each option can also be set as LOADER_OPTION in the environment, or as option in [tool.loader] of pyproject.toml.
Exit code: 0 all is stored, or --max-rejects allows for the rejects; 1 records were rejected; 2 wrong use;
3 a dataset could not be finished; 4 a bug; 129, 130, 143 stopped by SIGHUP, SIGINT, SIGTERM.
"""

_VERIFIED = {
    "complete": "All that is stored is sound.",
    "rejects": "Mend the records where they are stored, and verify again.",
    "failed": "Mend that, and verify again.",
    "interrupted": "Interrupted; nothing was changed.",
}
"""What follows from a verification, by its status."""

_MAKES_NO_SENSE = {"data", "rejects", "format", "delimiter", "encoding", "check", "on-conflict", "max-rejects"}
_MAKES_NO_SENSE |= {"atomic", "ignore-extra", "jobs"}
"""The options of a load that a verification does not take as flags."""


class _HelpFormatter(RawDescriptionRichHelpFormatter):
    """Help in the form of Python 3.13, in any version: `-d, --data DIR`."""

    text_markup = help_markup = False

    def __init__(self, prog: str) -> None:
        width = min(max(shutil.get_terminal_size().columns, 40), 120)
        super().__init__(prog, width=width - 2, console=Console(width=width))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return str(super()._format_action_invocation(action))
        return f"{', '.join(action.option_strings)} {action.metavar}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def parser() -> argparse.ArgumentParser:
    """What reads the command line; an option that is not given is not there."""
    made = _Parser(
        prog=COMMAND,
        usage=f"{COMMAND} [OPTION]... [NAME | NAME=FILE]...",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_HelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    made.add_argument(
        "names", nargs="*", metavar="NAME | NAME=FILE", default=[], help="a dataset, and its file; - for stdin"
    )
    for option in OPTIONS:
        form: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"action": option.action}
        made.add_argument(*option.flags, help=option.help.replace("%", "%%"), **form)
    made.add_argument(
        "--init", nargs="?", const=".", metavar="DIR", help="write a models.py to begin with, and its data"
    )
    made.add_argument("--version", action="version", version=f"loader {loader.__version__}")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    out, err = _stream(sys.stdout), _stream(sys.stderr)
    verbose = False
    try:
        given = _given(argv, out)
        verbose = given.get("verbose", False)
        if "init" in given:
            return _begin(given, out)
        settings = gather(given, os.environ, Path("pyproject.toml"))
        verbose = settings["verbose"]
        return _Command(settings, out, err).run()
    except (UsageError, OutputError) as error:
        _complain(err, str(error), error, verbose)
        return 2 if isinstance(error, UsageError) else 3
    except KeyboardInterrupt:  # before the load
        return 128 + signal.SIGINT
    except Exception as error:
        if lack := lacking(error):
            _complain(err, f"the system gives no more {lack}: run again where there is more", error, verbose)
            return 3
        hint = "" if verbose else " (-v shows where)"
        _complain(err, f"a bug in loader, please report it: {error!r}{hint}", error, verbose)
        return BUG
    finally:
        _flush(out)
        _flush(err)


def _given(argv: Sequence[str] | None, out: IO[str]) -> dict[str, Any]:
    """What is given; OutputError if the help or the version, which end the program, cannot be written."""
    try:
        try:
            return vars(parser().parse_args(argv))
        except SystemExit:
            out.flush()
            raise
    except BrokenPipeError:  # the reader has had enough
        sys.exit()
    except OSError as error:
        raise OutputError(f"stdout cannot be written: {error.strerror}") from error


def _begin(given: Mapping[str, Any], out: IO[str]) -> int:
    """Write what a project of one's own begins with, and say what to type next."""
    if given["names"] or given.keys() - {"init", "names", "verbose"}:
        raise UsageError("--init goes with no other option, and no NAME")
    from loader.starter import write_starter  # only now, as few need it

    directory = Path(given["init"])
    files = write_starter(directory)
    enter = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
    with suppress(OSError, ValueError):
        print(safe(f"Written: {', '.join(map(str, files))}"), file=out)
        print(safe(f"Load what is there, and then make {files[0]} your own: {enter}{COMMAND}"), file=out)
    return 0


def _stream(stream: IO[str] | None) -> IO[str]:
    """A standard stream that takes any text; one that is closed swallows it."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _flush(stream: IO[str]) -> None:
    """Flush now, so that Python does not at its end, and makes a full disk or a reader that is gone the exit code."""
    try:
        stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: IO[str]) -> None:
    """Send to nowhere what is not written yet."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _complain(err: IO[str], text: str, error: BaseException, verbose: bool) -> None:
    with suppress(OSError, ValueError):
        print(f"loader: {safe(text)}", file=err)
        if verbose:
            for line in "".join(traceback.format_exception(error)).splitlines():
                print(safe(line), file=err)
        err.flush()


@asynccontextmanager
async def _woken_by_signals() -> AsyncIterator[None]:
    """Let the event loop wake up for a signal, whenever it comes and whichever thread it is given to."""
    if sys.platform == "win32":  # there the loop sees to it itself
        yield
        return
    loop = asyncio.get_running_loop()
    bell, rope = socket.socketpair()
    with bell, rope:
        bell.setblocking(False)
        rope.setblocking(False)
        loop.add_reader(bell, bell.recv, 4096)
        before = signal.set_wakeup_fd(rope.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(bell)


class _Command:
    """One run of the command line. Raises UsageError before anything is done, if it cannot be done."""

    def __init__(self, settings: Settings, out: IO[str], err: IO[str]) -> None:
        self._settings, self._out, self._err = settings, out, err
        self._rejects: RejectsWriter | None = None
        if settings["atomic"] and settings["check"]:
            raise UsageError("--check stores nothing, --atomic all or nothing: choose one of them")
        try:
            datasets = find_datasets(settings["models"], Path())
            if settings["verify"]:
                refuse_without_sense(settings)
            sources = {} if settings["verify"] else find_sources(settings, datasets)
            targets = {dataset.name: SqliteTarget(settings["into"] / f"{dataset.database}.db") for dataset in datasets}
            files = {name: [each.path for each in found] for name, found in sources.items() if found}
            if (directory := settings["rejects"]) and not settings["verify"]:
                self._rejects = RejectsWriter(
                    directory,
                    files,
                    settings["check"],
                    delimiter=settings["delimiter"],
                    marked=codecs.lookup(settings["encoding"]).name != "utf-8",
                )
            self._files = list(chain(*files.values()))
            rejects = self._rejects.paths if self._rejects else ()
            self._refuse_export(chain(self._files, (target.path for target in targets.values()), rejects))
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from error
        self._jobs = [Job(each, sources.get(each.name, []), targets[each.name]) for each in datasets]
        if settings["verify"]:
            self._verified = find_databases(settings, targets)
            verified = [job for job in self._jobs if job.dataset.name in self._verified]
            self._report = new_report(verified, verify=True)
        else:
            loaded = [job for job in self._jobs if job.sources]
            self._report = new_report(loaded, settings["check"], settings["max-rejects"], atomic=settings["atomic"])
        self._view = self._new_view()
        self._signal = 0  # what stopped the load
        self._exported = False
        self._stop: Callable[[], object] = lambda: None
        self._break_off: Callable[[], object] = lambda: None

    def _refuse_export(self, taken: Iterable[Path]) -> None:
        """Refuse to write the result where it cannot be, or over what is read or written otherwise."""
        export: Path | None = self._settings["export"]
        if export is None or self._result_on_stdout:
            return
        if not export.parent.is_dir():
            raise UsageError(f"--export: there is no directory {export.parent}")
        if export.is_dir():
            raise UsageError(f"--export: {export} is a directory")
        if os.path.realpath(export) in map(os.path.realpath, taken):
            raise UsageError(f"--export: {export} is a file that is loaded from or into, or takes rejects")

    def run(self) -> int:
        gc.freeze()  # what is there stays, and a load makes no cycles to speak of: saves a sixth of the time
        gc.set_threshold(100_000)
        with self._signals(), self._rejects or nullcontext():
            jobs = 0 if self._settings["verify"] else self._settings["jobs"]
            jobs = self._jobs_that_pay() if jobs is None else jobs
            with processes(jobs) if jobs else Here() as executor:
                if isinstance(executor, Here):
                    self._break_off = executor.break_off  # what runs in processes is left to them
                make_sure_of_files()
                asyncio.run(self._load(executor))
                is_finished = self._report.status in ("complete", "rejects")
                executor.shutdown(wait=is_finished, cancel_futures=True)  # nobody wants what was to be parsed ahead
                if not is_finished:
                    end_processes(PATIENCE)  # one that is stopped, or whose call takes long, is not waited for
            if self._rejects:
                self._report.outputs += self._rejects.problems
            self._export()
        for problem in [*(tally.problem for tally in self._report.tallies.values()), *self._report.outputs]:
            if problem:
                _complain(self._err, problem.detail, problem, self._settings["verbose"])
        if self._settings["quiet"] < 2:
            try:
                self._summarise(console(self._err if self._result_on_stdout else self._out, self._settings["color"]))
            except (OSError, ValueError):  # nobody reads it
                pass
            except Exception as error:  # what was loaded does not depend on the display
                text = f"a bug in loader, please report it: the summary cannot be shown: {error!r}"
                _complain(self._err, text, error, self._settings["verbose"])
        return self._exit_code

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """At the first signal, stop in an orderly way; at a second, at once."""

        def handle(number: int, _frame: object) -> None:
            if self._signal:
                if isinstance(self._view, LiveView):
                    try_for(PATIENCE, self._view.show_cursor)  # a terminal that was stopped takes nothing
                end_processes()
                os._exit(128 + number)
            self._signal = number
            self._stop()
            self._break_off()

        before = {number: signal.getsignal(number) for number in _SIGNALS}
        heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # nohup ignores one
        for number in heeded:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number in heeded:
                signal.signal(number, before[number])

    @property
    def _exit_code(self) -> int:
        interrupted = self._report.status == "interrupted" and self._signal
        return 128 + self._signal if interrupted else self._report.exit_code

    @property
    def _result_on_stdout(self) -> bool:
        return str(self._settings["export"]) == "-"

    def _new_view(self) -> LiveView | PlainView | None:
        settings, on = self._settings, console(self._err, self._settings["color"], self._settings["live"])
        if settings["quiet"]:
            return None
        is_live = settings["live"] == "always" or (
            settings["live"] == "auto" and self._err.isatty() and not on.is_dumb_terminal
        )
        return LiveView(self._report, on) if is_live else PlainView(self._report, on)

    def _jobs_that_pay(self) -> int:
        """How many processes are to parse, beside this one, which writes; CSV takes less time than that, JSON more."""
        size = sum(path.stat().st_size for path in self._files if path != STDIN)
        is_quick = {source.format for job in self._jobs for source in job.sources} <= {"csv", "tsv"}
        return min((os.cpu_count() or 1) - is_quick, 4) if size >= _SIZE_THAT_PAYS else 0

    async def _load(self, executor: Executor) -> None:
        settings = self._settings
        async with _woken_by_signals(), self._view.running() if isinstance(self._view, LiveView) else nullcontext():
            loading = asyncio.create_task(
                verify(self._jobs, names=self._verified, observe=self._tell)
                if settings["verify"]
                else load(
                    self._jobs,
                    observe=self._tell,
                    check=settings["check"],
                    on_conflict=settings["on-conflict"],
                    max_rejects=settings["max-rejects"],
                    ignore_extra=settings["ignore-extra"],
                    atomic=settings["atomic"],
                    executor=executor,
                )
            )
            self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, loading.cancel)
            if self._signal:
                loading.cancel()
            with suppress(asyncio.CancelledError):  # it was a signal, and the report tells what was done
                await loading
            self._stop = lambda: None

    def _tell(self, event: Event) -> None:
        self._report(event)
        if self._rejects:
            self._rejects(event)
        if self._view:
            try:
                self._view(event)
            except Exception:  # the load does not depend on the display
                self._view = None

    def _export(self) -> None:
        if not self._settings["export"]:
            return
        written = self._rejects.written if self._rejects else {}
        text = result(self._report, self._exit_code, loader.__version__, written)
        try:
            try:
                if self._is_read_by_others():
                    self._break_off = _give_up_waiting
                self._put(text)
            finally:
                self._break_off = lambda: None
        except OutputError as error:
            self._report.outputs.append(error)

    def _is_read_by_others(self) -> bool:
        """Whether the result goes to a pipe or a terminal."""
        with suppress(OSError, ValueError):
            place = self._out.fileno() if self._result_on_stdout else self._settings["export"]
            return os.path.exists(place) and not os.path.isfile(place)
        return False

    def _put(self, text: bytes) -> None:
        if self._result_on_stdout:
            self._print(text.decode())
        else:
            write_result(self._settings["export"], text)
            self._exported = True

    def _print(self, text: str) -> None:
        if sys.stdout is None:
            raise OutputError("the result cannot be written to stdout: it is closed")
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError) as error:
            raise OutputError(f"the result cannot be written to stdout: {error}") from error
        except OutputError:  # it is not waited for any more
            _silence(self._out)
            raise

    def _summarise(self, on: Console) -> None:
        on.print(summary(self._report, on, with_rejects=isinstance(self._view, LiveView)))
        on.print()
        for line in self._outcome():
            on.print(Text(safe(line)), soft_wrap=not on.is_terminal)

    def _outcome(self) -> Iterator[str]:
        """Where everything is, what the exit code says, and what to type next."""
        report, settings = self._report, self._settings
        written = self._rejects.written if self._rejects else {}
        rejects = [str(written[name]) for name in report.tallies if name in written]
        if self._exported:
            yield f"Result: {settings['export']}"
        if rejects:
            yield f"Rejects: {', '.join(rejects)}"
        if report.status == "rejects" and report.allowed:
            limit, origin = settings["max-rejects"], settings.origins["max-rejects"]
            share = f"{report.totals.rejected:,} of {report.totals.read:,} records"
            yield f"{share} were rejected; max-rejects {limit} a dataset ({origin}) allows for that: exit code 0."
        if settings["check"]:
            yield "Checked only, nothing was stored."
        if settings["verify"]:
            yield _VERIFIED[report.status]
            return
        again = " ".join([COMMAND, *self._repeated()])
        is_none_stored = settings["atomic"] and not (report.totals.inserted or report.totals.updated)
        match report.status:
            case "failed" if is_none_stored:
                yield "Nothing was stored. Mend that, and run the same command again."
            case "interrupted" if is_none_stored:
                yield "Interrupted. Nothing was stored: run the same command again."
            case "rejects" if rejects:
                yield f"Mend the rows there, then load them: {again} --data {shlex.quote(str(settings['rejects']))}"
            case "failed":
                yield "Mend that, and run the same command again: what is stored stays, and it goes on from there."
            case "interrupted":
                yield "Interrupted. Run the same command again: what is stored stays, and it goes on from there."

    def _repeated(self) -> Iterator[str]:
        """The flags of this command that matter for the next one as well."""
        for name in ("models", "into", "rejects", "on-conflict", "delimiter", "encoding"):
            if self._settings.origins.get(name) == f"--{name}":
                yield f"--{name} {shlex.quote(str(self._settings[name]))}"
        yield from (
            f"--{name}" for name in ("atomic", "ignore-extra") if self._settings.origins.get(name) == f"--{name}"
        )


def _give_up_waiting() -> None:
    raise OutputError("the result cannot be written: nobody has read it before there was a signal")


def refuse_without_sense(settings: Settings) -> None:
    """Refuse what only a load can do, where databases are to be verified."""
    flags = [origin for name, origin in settings.origins.items() if name in _MAKES_NO_SENSE and origin == f"--{name}"]
    if flags:
        raise UsageError(f"--verify reads the databases only: leave out {' and '.join(flags)}")
    if files := [name for name in settings.names if "=" in name]:
        raise UsageError(f"--verify takes names of datasets, without files: leave out ={files[0].partition('=')[2]}")


def find_databases(settings: Settings, targets: Mapping[str, SqliteTarget]) -> list[str]:
    """The datasets to verify; UsageError if a name is not known, or its database not there."""
    if unknown := [name for name in settings.names if name not in targets]:
        raise UsageError(f"there is no dataset {unknown[0]!r}; there are {', '.join(targets)}")
    names = settings.names or [name for name, target in targets.items() if target.path.exists()]
    if lacking := [targets[name].name for name in names if not targets[name].path.exists()]:
        raise UsageError(f"{lacking[0]} is not there: see --into")
    if not names:
        files = ", ".join(dict.fromkeys(target.path.name for target in targets.values()))
        raise UsageError(f"{settings['into']} holds none of {files}: see --into")
    return list(names)


def find_sources(settings: Settings, datasets: Sequence[Dataset]) -> dict[str, list[FileSource]]:
    """The files to load, by dataset; UsageError if a name or file is not there, or is there twice."""
    known = {dataset.name: dataset for dataset in datasets}
    sources: dict[str, list[FileSource]] = {name: [] for name in known}
    options = {name: settings[name] for name in ("delimiter", "encoding")}
    for argument in settings.names:
        name, is_given, file = argument.partition("=")
        if name not in known:
            raise UsageError(f"there is no dataset {name!r}; there are {', '.join(known)}")
        if is_given:
            sources[name] += [file_source(each, settings["format"], **options) for each in _expanded(file)]
        elif source := find_source(settings["data"], name, **options):
            sources[name].append(source)
        else:
            raise UsageError(f"{settings['data']} holds no file of {name}; name one, as {name}=FILE")
    if not settings.names:
        for name in known:
            if source := find_source(settings["data"], name, **options):
                sources[name].append(source)
        if not any(sources.values()):
            names = ", ".join(f"{name}.csv" for name in known)
            raise UsageError(f"{settings['data']} holds none of {names} (nor .json, .ndjson ...): see --data")
    _refuse_unusable(sources)
    return sources


def _expanded(file: str) -> list[str]:
    """The files that a pattern stands for, sorted; a file that is there by that very name is meant itself."""
    if file == "-" or glob.escape(file) == file or os.path.lexists(file):
        return [file]
    if found := sorted(glob.glob(file, recursive=True)):
        return found
    raise UsageError(f"{file} matches no file")


def _refuse_unusable(sources: Mapping[str, Sequence[FileSource]]) -> None:
    """Refuse what is not there, and what would be read twice."""
    for name, found in sources.items():
        seen: set[str] = set()
        for source in found:
            if source.path == STDIN and sys.stdin is None:
                raise UsageError("stdin is closed")
            if source.path != STDIN and (source.path.is_dir() or not source.path.exists()):
                raise UsageError(f"{source.path} is not there, or is not a file")
            if os.path.realpath(source.path) in seen:
                raise UsageError(f"{source.name} is named twice for {name}")
            seen.add(os.path.realpath(source.path))
    on_stdin = [f"{name}=-" for name, found in sources.items() if any(each.path == STDIN for each in found)]
    if len(on_stdin) > 1:
        raise UsageError(f"only one dataset can be read from stdin, not {' and '.join(on_stdin)}")
