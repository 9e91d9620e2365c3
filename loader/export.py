"""What a load leaves behind besides the databases: the result as JSON, and the rejected rows, ready to be mended.

Each file appears whole or not at all.
"""

import codecs
import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Self

import orjson
from attrs import asdict, frozen

from loader.core.errors import OutputError, UsageError
from loader.core.events import Closed, Event, Opened, Rejected
from loader.core.records import MAX_REJECT, PlainLine, Reason, Rejection
from loader.core.report import Report, Tally
from loader.core.values import Number
from loader.disk import lock, make_directory, put_in_place, remove_unused, sync


class WholeFile:
    """A file that is written beside `path`, and takes its place when it is complete.

    A symbolic link stays one, and a file that is there already passes on its mode. Until then it is locked, so that
    `sweep` leaves it alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))
        while True:
            descriptor, name = tempfile.mkstemp(_LEFT, f".{self._path.name}.", self._path.parent)
            self._temporary = Path(name)
            self.file: IO[bytes] = os.fdopen(descriptor, "w+b")
            with suppress(OSError):  # where nothing can be locked, nothing is swept away
                lock(descriptor, wait=True)
            if os.fstat(descriptor).st_nlink:
                break
            self.file.close()  # swept away before it was locked

    def complete(self) -> None:
        """Make the file durable, and put it in its place."""
        with self.file:
            self.file.flush()
            self._temporary.chmod(self._mode())
            os.fsync(self.file.fileno())
            put_in_place(self.file, self._temporary, self._path)
        sync(self._path.parent)

    def discard(self) -> None:
        """Leave no trace, unless the file is in its place."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self._temporary.unlink()

    def _mode(self) -> int:
        try:
            return self._path.stat().st_mode & 0o777
        except FileNotFoundError:
            mask = os.umask(0)
            os.umask(mask)
            return 0o666 & ~mask


_LEFT = ".loader"
"""How the names of files end that are being written, or were when the program was killed."""


def sweep(directory: Path) -> None:
    """Remove what loads that were killed have left in a directory; what another one is writing stays."""
    for path in directory.glob(f".*.{'?' * 8}{_LEFT}"):
        with suppress(OSError):
            remove_unused(path)


def write_result(path: Path, text: bytes) -> None:
    """Write the result to a file, a pipe or a device; OutputError, and an old file stays, if that is not possible."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(text)
            return
        sweep(Path(os.path.realpath(path)).parent)
        file = WholeFile(path)
        try:
            file.file.write(text)
            file.complete()
        finally:
            file.discard()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def result(report: Report, exit_code: int, version: str, rejects: Mapping[str, Path]) -> bytes:
    """The result as JSON, in the form of `result.schema.json`; `rejects` are the files of rejected rows by dataset."""
    run = {
        "loader": version,
        "started": report.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(report.seconds, 3),
        "status": report.status,
        "exit_code": exit_code,
        "check": report.check,
        "verify": report.verify,
        "atomic": report.atomic,
    }
    problems = [
        {"dataset": tally.name, "title": tally.problem.title, "detail": tally.problem.detail}
        for tally in report.tallies.values()
        if tally.problem
    ] + [{"dataset": None, "title": each.title, "detail": each.detail} for each in report.outputs]
    document = {
        "version": 1,
        "run": run,
        "totals": asdict(report.totals),
        "datasets": [_dataset(tally, rejects.get(tally.name)) for tally in report.tallies.values()],
        "problems": problems,
    }
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    with suppress(TypeError):  # where something has to be made printable first
        return orjson.dumps(document, option=options | orjson.OPT_PASSTHROUGH_SUBCLASS)
    return orjson.dumps(_printable(document), option=options)


def _dataset(tally: Tally, rejects: Path | None) -> dict[str, Any]:
    return {
        "name": tally.name,
        "status": tally.status or "interrupted",
        "sources": list(tally.sources),
        "target": tally.target,
        **asdict(tally.counts),
        "seconds": round(tally.seconds, 3),
        "reasons": tally.reasons,
        "rejects": str(rejects) if rejects else None,
        "rejections": [_rejection(each) for each in tally.rejections],
        "rejections_omitted": tally.rejections_omitted,
    }


def _rejection(rejection: Rejection) -> dict[str, Any]:
    place = rejection.place
    return {
        "source": place.source,
        "line": place.line,
        "row": place.row,
        "values": rejection.values,
        "reasons": [_reason(each) for each in rejection.reasons],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    members: dict[str, Any] = {"code": reason.code, "field": reason.field, "message": reason.message}
    if reason.holder is not None:
        members["holder"] = reason.holder
    if cause := reason.cause:
        members["cause"] = {
            "dataset": cause.dataset,
            "key": cause.key,
            "source": cause.place.source,
            "line": cause.place.line,
            "code": cause.reason.code,
        }
    return members


def _printable(value: Any) -> Any:
    """The same for JSON: what is no UTF-8 is shown escaped, and a number has the digits that stood there."""
    match value:
        case Number():
            return orjson.Fragment(str(value))
        case bytes():
            return f"X'{value.hex()}'"
        case str():
            return str(value) if value.isascii() else value.encode(errors="backslashreplace").decode()
        case dict():
            return {_printable(name): _printable(each) for name, each in value.items()}
        case list() | tuple():
            return [_printable(each) for each in value]
        case _:
            return value


class RejectsWriter:
    """An observer that writes the rejected rows of each dataset to a file that can be mended and loaded again.

    `sources` are by dataset the files that it is loaded from. One that is a rejects file itself is replaced only when
    all of it was loaded: nowhere else are its rows. The rows of a dataset of several formats are written as
    NDJSON, which takes any. `delimiter` is that of CSV; `marked` files begin with a byte order mark, so that they are
    read as UTF-8 whatever other encoding is asked for. `written` are the files that are there in the end, `problems`
    what could not be written. In a `with`, nothing unfinished is left behind, nor by runs that were killed before.

    Raises UsageError if a file has the name of a rejects file, and is none, or is in the way of the directory.
    """

    def __init__(
        self,
        directory: Path,
        sources: Mapping[str, Sequence[Path]],
        check: bool,
        delimiter: str = ",",
        marked: bool = False,
    ) -> None:
        self.written: dict[str, Path] = {}
        self.problems: list[OutputError] = []
        self._directory, self._sources, self._check = directory, sources, check
        self._forms, self._mark = _forms(delimiter), codecs.BOM_UTF8 if marked else b""
        self._files: dict[str, _RejectsFile] = {}
        self._earlier = {dataset: [path for path in self._names(dataset) if path.exists()] for dataset in sources}
        there = next(filter(os.path.lexists, (directory, *directory.parents)))
        if not there.is_dir():
            raise UsageError(f"{there} is not a directory, where rejects are to go: choose another with --rejects")
        for path in self.paths:
            if path.exists() and not _is_rejects_file(path):
                raise UsageError(f"{path} would be overwritten with rejects: choose another directory with --rejects")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.discard()
        sweep(self._directory)

    def __call__(self, event: Event) -> None:
        try:
            match event:
                case Rejected() if event.dataset in self._files:
                    self._files[event.dataset].add(event.rejections)
                case Opened():
                    form = next(iter(event.formats)) if len(event.formats) == 1 else MIXED
                    path = self._directory / f"{event.dataset}.{form}"
                    self._files[event.dataset] = _RejectsFile(path, self._forms[form], event.columns, self._mark)
                case Closed() if event.dataset in self._files:
                    self._close(event.dataset, loaded=event.status == "complete" and not self._check)
                case _:
                    pass
        except OSError as error:
            file = self._files.pop(event.dataset)
            file.discard()
            self.problems.append(OutputError(f"{file.path} cannot be written: {error.strerror or error}"))

    @property
    def paths(self) -> list[Path]:
        """The files that may be written."""
        return list(chain.from_iterable(map(self._names, self._sources)))

    def _names(self, dataset: str) -> list[Path]:
        return [self._directory / f"{dataset}.{form}" for form in self._forms]

    def _close(self, dataset: str, loaded: bool) -> None:
        file, earlier = self._files[dataset], self._earlier[dataset]
        fed_back = {*map(os.path.realpath, self._sources[dataset])} & {*map(os.path.realpath, earlier)}
        if fed_back and not loaded:
            self.written[dataset] = earlier[0]
            return
        if file.rows:
            file.complete()
            self.written[dataset] = file.path
        for path in earlier if loaded else ():
            if path != self.written.get(dataset):
                path.unlink()
                sync(path.parent)


def _is_rejects_file(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if path.suffix in (".csv", ".tsv"):
            return re.search(rb"(?:^|[^\w ]|_source )_reasons\b", file.readline(2**20)) is not None
        return re.search(rb'"_reasons"\s*:', file.read(2**21)) is not None


class _RejectsFile:
    """Rejected rows in the format of their source; there is no file before there is a row."""

    def __init__(self, path: Path, form: "_Form", columns: tuple[str, ...], mark: bytes) -> None:
        self.path, self.rows = path, 0
        self._mark = mark
        self._form, self._columns = form, (*columns, "_line", "_source", "_reasons")
        self._whole: WholeFile | None = None

    def add(self, rejections: Sequence[Rejection]) -> None:
        if self._whole is None:
            make_directory(self.path.parent)
            self._whole = WholeFile(self.path)
            self._whole.file.write(self._mark + self._form.head(self._columns))
        if self._form.widen and "_raw" not in self._columns and any("_raw" in each.cells for each in rejections):
            self._columns = (*self._columns, "_raw")
            narrow, self._whole = self._whole, WholeFile(self.path)
            self._whole.file.write(self._mark)
            narrow.file.seek(len(self._mark))
            self._form.widen(narrow.file, self._whole.file)
            narrow.discard()
        text = self._form.between.join(self._form.rows(rejections, self._columns))
        self._whole.file.write(self._form.between + text if self.rows else text)
        self.rows += len(rejections)

    def complete(self) -> None:
        if self._whole:
            self._whole.file.write(self._form.tail)
            self._whole.complete()

    def discard(self) -> None:
        if self._whole:
            self._whole.discard()


def _members(rejection: Rejection) -> dict[str, Any]:
    """What a rejects file holds of a row: its cells or, if it does not fit the columns, its text; and loader's own."""
    raw = rejection.cells.get("_raw")
    place = rejection.place
    return {
        **(rejection.values if raw is None else {"_raw": raw}),
        "_line": place.line,
        **({"_row": place.row} if place.line is None else {}),
        "_source": place.source,
        "_reasons": [str(reason) for reason in rejection.reasons],
    }


@frozen
class _Form:
    """How rejected rows are written in a format; `widen` copies rows that lack the column `_raw`."""

    head: Callable[[Sequence[str]], bytes]
    rows: Callable[[Sequence[Rejection], Sequence[str]], Iterable[bytes]]
    widen: Callable[[IO[bytes], IO[bytes]], None] | None = None
    between: bytes = b""
    tail: bytes = b""


def _csv_form(delimiter: str) -> _Form:
    written: list[str] = []
    # with CR in the end of the line, so that a CR in a cell is quoted
    writer = csv.writer(SimpleNamespace(write=written.append), delimiter=delimiter, lineterminator="\r\n")

    def line(cells: Sequence[str]) -> str:
        text = delimiter.join(cells)
        if text.count(delimiter) < len(cells) and not ('"' in text or "\n" in text or "\r" in text):
            return text  # most need no quotes, and are written by this in a third of the time
        writer.writerow(cells)
        return written.pop()[:-2]

    def lines(rows: Iterable[Sequence[str]]) -> bytes:
        return "\n".join([*map(line, rows), ""]).encode(errors="surrogateescape")

    def row(rejection: Rejection, columns: Sequence[str], own: Sequence[str]) -> str:
        """The line of a row, as `_members` has it, with loader's own columns in the end, where there may be `_raw`."""
        cells: Any = rejection.cells
        place = rejection.place
        about = ["" if place.line is None else str(place.line), place.source, "; ".join(map(str, rejection.reasons))]
        if own[-1] == "_raw":
            about.append(cells.get("_raw", ""))
        if isinstance(cells, PlainLine) and cells.columns == columns and cells.delimiter == delimiter:
            text = cells.text
        else:
            text = line([*map(({} if "_raw" in cells else cells).get, columns, repeat(""))])
        return f"{text}{delimiter}{line(about)}\n"

    def rows(rejections: Sequence[Rejection], columns: Sequence[str]) -> Iterable[bytes]:
        own = columns.index("_line")
        yield "".join(row(each, columns[:own], columns[own:]) for each in rejections).encode(errors="surrogateescape")

    def widen(narrow: IO[bytes], wide: IO[bytes]) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), MAX_REJECT))
        text = io.TextIOWrapper(narrow, encoding="utf-8", errors="surrogateescape", newline="")
        rows = csv.reader(text, delimiter=delimiter)
        wide.write(lines([[*next(rows), "_raw"]]))
        wide.writelines(lines([[*row, ""]]) for row in rows)
        text.detach()

    return _Form(lambda columns: lines([columns]), rows, widen)


def _json_rows(rejections: Sequence[Rejection], _columns: Sequence[str]) -> Iterator[bytes]:
    for members in map(_members, rejections):
        try:
            yield orjson.dumps(members, lambda number: orjson.Fragment(str(number)), orjson.OPT_PASSTHROUGH_SUBCLASS)
        except TypeError:  # bytes that are no UTF-8, which only the text of an unreadable row holds
            yield json.dumps(members).encode()


def _forms(delimiter: str) -> dict[str, _Form]:
    """How rejected rows are written, by the format of their source; `delimiter` is that of CSV."""
    lines = _Form(lambda columns: b"", _json_rows, between=b"\n", tail=b"\n")
    return {
        "csv": _csv_form(delimiter),
        "tsv": _csv_form("\t"),
        "json": _Form(lambda columns: b"[\n", _json_rows, between=b",\n", tail=b"\n]\n"),
        "ndjson": lines,
        "jsonl": lines,
    }


MIXED = "ndjson"
"""What takes the rows of sources of several formats."""
