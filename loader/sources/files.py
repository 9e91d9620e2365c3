"""Files as streams of bytes, plain or gzipped, and the cutting of a stream into blocks at the ends of rows."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from loader.core.errors import SourceError
from loader.core.records import MAX_REJECT, Block

_BOM = b"\xef\xbb\xbf"


class Readable(Protocol):
    """Bytes to read, and how much of the file lies behind the last of them."""

    @property
    def position(self) -> int: ...

    def read(self, size: int) -> bytes:
        """The next bytes, about so many; none at the end."""


class Stream:
    """The bytes of a UTF-8 file, without compression and byte order mark; `size` is that of the file.

    Raises SourceError, naming the file, for whatever keeps it from being read.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        with self._own_faults():
            self._raw = path.open("rb")
            self.size = path.stat().st_size
        self._file = gzip.GzipFile(fileobj=self._raw) if path.suffix == ".gz" else self._raw
        try:
            self._head = self._opening()
        except SourceError:
            self._raw.close()
            raise

    def _opening(self) -> bytes:
        with self._own_faults():
            head = self._file.read(len(_BOM))
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise SourceError(f"{self._name} is UTF-16: save it as UTF-8")
        if head.startswith(b"\x1f\x8b"):
            raise SourceError(f"{self._name} is gzipped: give it a name that ends in .gz")
        if head == _BOM:
            with self._own_faults():
                head = self._file.read(1)
        if not head:
            raise SourceError(f"{self._name} is empty")
        return head

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        with self._own_faults():
            return self._file.read(size)

    @contextmanager
    def _own_faults(self) -> Iterator[None]:
        try:
            yield
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise SourceError(f"{self._name} is not an undamaged gzip file: {error}") from error
        except OSError as error:
            raise SourceError(f"{self._name} cannot be read: {error.strerror or error}") from error


def read_through(path: Path) -> Iterator[None]:
    """Read a file to its end, a step at a time, if only its end tells whether it is whole; SourceError if it is not."""
    if path.suffix == ".gz":
        with Stream(path) as stream:
            while stream.read(2**20):
                yield


def last_newline(data: bytes) -> int:
    """Where whole rows end, in a format that has one row a line."""
    return data.rfind(b"\n") + 1


def cut(
    stream: Readable, size: int, ends: Callable[[bytes], int] = last_newline, head: bytes = b"", line: int = 1
) -> Iterator[Block]:
    """Blocks of whole rows, made of about `size` bytes each.

    `ends` says how many bytes of its argument are whole rows, whatever may follow. `head` was read already, and begins
    at `line`. Of a line that is longer than a row may be, only so much is passed on that it is seen to be too long.
    """
    data = head
    while piece := stream.read(size):
        data += piece
        end = ends(data)
        if not end and len(data) > MAX_REJECT:
            yield Block(data[: MAX_REJECT + 1] + b"\n", line, stream.position)
            line, data = line + 1, _rest_of_line(stream, size, data)
        elif end:
            yield Block(data[:end], line, stream.position)
            line, data = line + data.count(b"\n", 0, end), data[end:]
    if data:
        yield Block(data if data.endswith(b"\n") else data + b"\n", line, stream.position)


def _rest_of_line(stream: Readable, size: int, data: bytes) -> bytes:
    """Read on to the next line, and return what was read of it."""
    while data and b"\n" not in data:
        data = stream.read(size)
    return data.partition(b"\n")[2]
