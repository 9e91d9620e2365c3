"""Where rows come from: the contract, and the gallery of formats."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Protocol

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.errors import UsageError
from loader.core.records import Block, Reader
from loader.sources.csv import open_csv
from loader.sources.files import STDIN, Stream, name_of, open_file, read_through
from loader.sources.json_array import open_json, read_array_through
from loader.sources.ndjson import open_ndjson
from loader.sources.packings import PACKINGS
from loader.threads import in_thread, in_threads

BLOCK_SIZE = 15 * 2**16
"""About how many bytes are parsed, judged and committed at once: less than a row may have (see `MAX_ROW`).

Of NDJSON, half of which are names, they are twice as many, and may be more than a row has.
"""


@frozen
class Rowset:
    """A source that is open: how its blocks are split, its columns, its size in bytes, and the blocks in order.

    Each step of `blocks` may raise SourceError.
    """

    reader: Reader
    columns: tuple[str, ...]
    size: int
    blocks: AsyncIterator[Block]


class Source(Protocol):
    """Rows of one dataset.

    `name` is how messages call it, `format` what rejected rows are written in, `numbered` whether a row has a line, and
    `rereadable` whether the rows are there again when it is opened a second time.
    """

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def numbered(self) -> bool: ...

    @property
    def rereadable(self) -> bool: ...

    async def verify(self) -> None:
        """Raise SourceError for damage that reading would find only when rows are stored already."""

    def open(self, dataset: Dataset, ignore_extra: bool) -> AbstractAsyncContextManager[Rowset]:
        """Begin to read; raise SourceError if the source cannot be used at all."""


@frozen
class Format:
    """How a stream is opened, and how it is read through beforehand, if only its end tells whether it is sound.

    `packed` says whether files may be compressed as a whole, `rejects` in which other format rejected rows are written,
    and `needs` which package, that an extra of the same name as the format installs.
    """

    open: Callable[[Stream, str, Dataset, bool, int], tuple[Reader, tuple[str, ...], Iterator[Block]]]
    read_through: Callable[[Stream], Iterator[None]] | None = None
    numbered: bool = True
    packed: bool = True
    rejects: str | None = None
    needs: str | None = None


def _csv(delimiter: str) -> Format:
    return Format(partial(open_csv, delimiter=delimiter))


def _open_parquet(*arguments: Any) -> tuple[Reader, tuple[str, ...], Iterator[Block]]:
    from loader.sources.parquet import open_parquet  # only now, as few need it

    return open_parquet(*arguments)


def _read_parquet_through(stream: Stream) -> Iterator[None]:
    from loader.sources.parquet import read_parquet_through

    return read_parquet_through(stream)


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


FORMATS = {
    "csv": _csv(","),
    "tsv": _csv("\t"),
    "json": Format(open_json, read_array_through, numbered=False),
    "ndjson": Format(open_ndjson),
    "jsonl": Format(open_ndjson),
    "parquet": Format(
        _open_parquet, _read_parquet_through, numbered=False, packed=False, rejects="ndjson", needs="pyarrow"
    ),
}
"""By the ending of a file's name, which may be followed by `.gz` or `.zst` if such files may be packed."""


@frozen
class FileSource:
    """A file, pipe or stdin, in a format; `delimiter` is that of CSV.

    What can be read only once, and has to be proved sound first, is proved on an unnamed copy when it is opened.
    """

    path: Path
    ending: str
    block_size: int = BLOCK_SIZE
    delimiter: str = ","
    encoding: str = "utf-8"

    @property
    def rereadable(self) -> bool:
        return not self._is_read_once

    @cached_property
    def name(self) -> str:
        return name_of(self.path)

    @property
    def format(self) -> str:
        return FORMATS[self.ending].rejects or self.ending

    @property
    def numbered(self) -> bool:
        return self._form.numbered

    async def verify(self) -> None:
        if self._read_through and not self._is_read_once:
            with await self._opened() as raw:
                await self._prove(raw, self._read_through)

    @asynccontextmanager
    async def open(self, dataset: Dataset, ignore_extra: bool) -> AsyncIterator[Rowset]:
        proof = self._read_through if self._is_read_once else None
        with await self._opened(spooled=proof is not None) as raw:
            if proof:
                await self._prove(raw, proof)
                raw.seek(0)
            stream = await self._stream(raw)
            opening = partial(self._form.open, stream, self.name, dataset, ignore_extra, self.block_size)
            reader, columns, blocks = await in_thread(opening)
            yield Rowset(reader, columns, stream.size, in_threads(blocks))

    async def _opened(self, spooled: bool = False) -> IO[bytes]:
        return await in_thread(partial(open_file, self.path, spooled), discard=lambda raw: raw.close())

    async def _prove(self, raw: IO[bytes], proof: Callable[[Stream], Iterator[None]]) -> None:
        async for _ in in_threads(proof(await self._stream(raw))):
            pass

    async def _stream(self, raw: IO[bytes]) -> Stream:
        return await in_thread(partial(Stream, raw, self.path, self.encoding))

    @cached_property
    def _form(self) -> Format:
        return _csv(self.delimiter) if self.ending == "csv" else FORMATS[self.ending]

    @property
    def _read_through(self) -> Callable[[Stream], Iterator[None]] | None:
        return self._form.read_through or (read_through if self.path.suffix in PACKINGS else None)

    @property
    def _is_read_once(self) -> bool:
        return self.path == STDIN or (self.path.exists() and not self.path.is_file())


def file_source(
    path: Path | str,
    format: str | None = None,  # noqa: A002 # named as the member that it becomes
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> FileSource:
    """The source that a file is; "-" is stdin.

    `format` is that of a name which tells none. Raises UsageError if nothing tells the format, and if the file is
    compressed in a way for which a library is missing.
    """
    path = STDIN if path == "-" else Path(path)
    packing = PACKINGS.get(path.suffix)
    ending = Path(path.stem if packing else path.name).suffix.removeprefix(".")
    known = ending if ending in FORMATS and (not packing or FORMATS[ending].packed) else format
    if known is None and path == STDIN:
        raise UsageError(f"stdin has no name that tells its format: say --format {'|'.join(FORMATS)}")
    if known is None:
        endings = " or ".join(f".{each}" for each in FORMATS)
        raise UsageError(
            f"{path}: the name must end in {endings}, or that and {' or '.join(PACKINGS)}; or say --format"
        )
    if packing:
        packing.require()
    if (needed := FORMATS[known].needs) and not _is_installed(needed):
        raise UsageError(f"{path}: {needed} is needed for that: pip install 'crossload[{known}]'")
    return FileSource(path, known, delimiter=delimiter, encoding=encoding)


def find_source(directory: Path, name: str, delimiter: str = ",", encoding: str = "utf-8") -> FileSource | None:
    """The file of a dataset in a directory, if there is one; UsageError if there are several."""
    names = [
        f"{name}.{ending}{packing}"
        for ending, each in FORMATS.items()
        for packing in ("", *PACKINGS)[: 1 + 2 * each.packed]
    ]
    found = [path for path in (directory / each for each in names) if path.is_file()]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(map(str, found))} are both there: name the one to load, as {name}={found[0]}")
    return file_source(found[0], delimiter=delimiter, encoding=encoding) if found else None
