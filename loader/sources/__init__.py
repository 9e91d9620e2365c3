"""Where rows come from: the contract, and the gallery of formats."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from attrs import frozen

from loader.core.dataset import Dataset
from loader.core.errors import UsageError
from loader.core.records import Block, Reader
from loader.sources.csv import open_csv
from loader.sources.files import Stream, read_through
from loader.sources.json_array import open_json, read_array_through
from loader.sources.ndjson import open_ndjson

BLOCK_SIZE = 2**17
"""How many bytes are parsed, judged and committed at once, about."""


@frozen
class Rowset:
    """A source that is open: how its blocks are split, its columns, its size in bytes, and the blocks in order.

    Each step of `blocks` may wait for the disk, and may raise SourceError.
    """

    reader: Reader
    columns: tuple[str, ...]
    size: int
    blocks: Iterator[Block]


class Source(Protocol):
    """Rows of one dataset.

    `name` is how messages call it, `format` what rejected rows are written in, and `numbered` whether a row has a line.
    """

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def numbered(self) -> bool: ...

    def verify(self) -> Iterator[None]:
        """Raise SourceError, after some steps, for damage that reading would find only when rows are stored already."""

    def open(self, dataset: Dataset, ignore_extra: bool) -> AbstractContextManager[Rowset]:
        """Begin to read; raise SourceError if the source cannot be used at all."""


@frozen
class Format:
    """How files of a kind are opened, and read through beforehand."""

    open: Callable[[Stream, str, Dataset, bool, int], tuple[Reader, tuple[str, ...], Iterator[Block]]]
    read_through: Callable[[Path], Iterator[None]] = read_through
    numbered: bool = True


FORMATS = {
    "csv": Format(open_csv),
    "json": Format(open_json, read_array_through, numbered=False),
    "ndjson": Format(open_ndjson),
}
"""By the ending of a file's name; each may be followed by `.gz`."""


@frozen
class FileSource:
    """A file, in a format that the ending of its name tells."""

    path: Path
    format: str
    block_size: int = BLOCK_SIZE

    @property
    def name(self) -> str:
        return os.fsencode(self.path).decode(errors="backslashreplace")

    @property
    def numbered(self) -> bool:
        return FORMATS[self.format].numbered

    def verify(self) -> Iterator[None]:
        return FORMATS[self.format].read_through(self.path)

    @contextmanager
    def open(self, dataset: Dataset, ignore_extra: bool) -> Iterator[Rowset]:
        with Stream(self.path) as stream:
            opened = FORMATS[self.format].open(stream, self.name, dataset, ignore_extra, self.block_size)
            reader, columns, blocks = opened
            yield Rowset(reader, columns, stream.size, blocks)


def file_source(path: Path | str) -> FileSource:
    """The source that a file is; UsageError if the ending of its name tells no format."""
    path = Path(path)
    ending = Path(path.name.removesuffix(".gz")).suffix.removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(f"{path}: the name must end in {' or '.join(f'.{name}' for name in FORMATS)}, or that and .gz")
    return FileSource(path, ending)


def find_source(directory: Path, name: str) -> FileSource | None:
    """The file of a dataset in a directory, if there is one; UsageError if there are several."""
    names = [f"{name}.{ending}{gz}" for ending in FORMATS for gz in ("", ".gz")]
    found = [path for path in (directory / each for each in names) if path.is_file()]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(map(str, found))} are both there: name the one to load, as {name}={found[0]}")
    return file_source(found[0]) if found else None
