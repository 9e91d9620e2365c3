"""Files, pipes and stdin as streams of UTF-8, and the cutting of a stream into blocks at the ends of rows."""

import codecs
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, Protocol

from loader.core.errors import SourceError
from loader.core.records import MAX_REJECT, Block, Span
from loader.sources.packings import PACKINGS, DamageError, Packed

STDIN = Path("/dev/stdin")
"""The path that stands for stdin, on any system."""

UNDECODED = re.compile("\udced[\udcb0-\udcb3][\udc80-\udcbf]|[\udc80-\udcff]")
"""A byte that could not be decoded: as `_Recoded` passes it on, or as it stands in what should be UTF-8."""

_MOST_LINES = 2**16
"""How many lines a piece has that is added to what is left of those before, to be a block."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Readable(Protocol):
    """Bytes to read, and how much of the file lies behind the last of them."""

    @property
    def position(self) -> int: ...

    def read(self, size: int) -> bytes:
        """The next bytes, about so many; none at the end."""


def name_of(path: Path) -> str:
    """How messages call a file."""
    return "stdin" if path == STDIN else os.fsencode(path).decode(errors="backslashreplace")


def open_file(path: Path, spooled: bool = False) -> IO[bytes]:
    """A file, unbuffered: what stands in a pipe is there at once, and to close it waits for no reader.

    Or, `spooled`, an unnamed copy of all that is in it, which can be read twice. Raises SourceError.
    """
    with _own_faults(path):
        if path == STDIN:
            os.set_blocking(0, True)
        raw = FileIO(0, closefd=False) if path == STDIN else _File(path) if path.is_file() else FileIO(path)
        if not spooled:
            return raw
        with raw:
            copy = TemporaryFile()  # noqa: SIM115 # who asked for it closes it
            shutil.copyfileobj(raw, copy)
            copy.seek(0)
            return copy


class _File(FileIO):
    """A file that is not closed under a thread that reads it, which would go on with whatever gets its number."""

    def __init__(self, path: Path) -> None:
        self._in_use = Lock()
        super().__init__(path)

    def read(self, size: int | None = -1, /) -> bytes:
        with self._in_use:
            return super().read(size)

    def close(self) -> None:
        with self._in_use:
            super().close()


class Stream:
    """The bytes of an open file as UTF-8, without compression and byte order mark; `size` is that of the file.

    Of a pipe nobody knows the size: it is 0, and so is the position. Raises SourceError, naming the file, for whatever
    keeps it from being read.
    """

    def __init__(self, raw: IO[bytes], path: Path, encoding: str = "utf-8") -> None:
        self.name = name_of(path)
        status = os.fstat(raw.fileno())
        self.size = status.st_size if S_ISREG(status.st_mode) else 0
        self._raw, self._path = raw, path
        self._first_version = _version(status)
        self._file: Packed = PACKINGS[path.suffix].unpack(raw) if path.suffix in PACKINGS else raw
        self._head = b""
        self._head = self._opening(codecs.lookup(encoding).name)

    def _opening(self, encoding: str) -> bytes:
        """What was read to see what the file is, and is to be read again."""
        head = b""
        while len(head) < 4 and (piece := self.read(4 - len(head))):
            head += piece
        for ending, packing in PACKINGS.items():
            if head.startswith(packing.magic):
                way_out = "unpack it on its way" if self._path == STDIN else f"give it a name that ends in {ending}"
                raise SourceError(f"{self.name} is compressed by {packing.name}: {way_out}")
        if head.startswith(codecs.BOM_UTF8):
            head, encoding = head.removeprefix(codecs.BOM_UTF8), "utf-8"
        if encoding != "utf-8":
            self._file, head = _Recoded(self._file, encoding, head), b""
        elif head.startswith(_UTF_16):
            raise SourceError(f"{self.name} is UTF-16: save it as UTF-8, or say --encoding utf-16")
        if head := head or self.read(1):
            return head
        raise SourceError(f"{self.name} is empty")

    @property
    def file(self) -> IO[bytes]:
        """The file as it is, for a format that is not read from its beginning to its end."""
        return self._raw

    @property
    def position(self) -> int:
        return self._raw.tell() if self.size else 0

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        with _own_faults(self._path):
            data = self._file.read(size)
            self.refuse_changes()
        return data

    def refuse_changes(self) -> None:
        """Raise SourceError if the file was written to since it was opened: what was read may be half of a row."""
        if _version(os.fstat(self._raw.fileno())) != self._first_version:
            raise SourceError(f"{self.name} was changed while it was read: run again when it is complete")


def _version(status: os.stat_result) -> tuple[int, int] | None:
    """What another write changes of a file; a pipe has none."""
    return (status.st_size, status.st_mtime_ns) if S_ISREG(status.st_mode) else None


class _Recoded:
    """Text of any encoding as UTF-8. A byte that cannot be decoded is the UTF-8 of a lone surrogate, which none is."""

    def __init__(self, file: Packed, encoding: str, head: bytes) -> None:
        self._file, self._head = file, head
        self._decoder = codecs.getincrementaldecoder(encoding)("loader.undecoded")

    def read(self, size: int, /) -> bytes:
        while True:
            piece, self._head = self._head or self._file.read(size), b""
            text = self._decoder.decode(piece, final=not piece)
            if text or not piece:
                return text.encode(errors="surrogatepass")


def _as_surrogates(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("loader.undecoded", _as_surrogates)


def undecoded(text: str) -> str:
    """What is wrong with text in which a byte could not be decoded; nothing if there is none."""
    found = UNDECODED.search(text)
    if not found:
        return ""
    surrogate = found[0].encode(errors="surrogateescape").decode(errors="surrogatepass") if found[0][1:] else found[0]
    return f"cannot be decoded: it holds the byte 0x{ord(surrogate) - 0xDC00:02X} (see --encoding)"


@contextmanager
def _own_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except DamageError as error:
        name = PACKINGS[path.suffix].name
        raise SourceError(f"{name_of(path)} is not an undamaged {name} file: {error}") from error
    except OSError as error:
        raise SourceError(f"{name_of(path)} cannot be read: {error.strerror or error}") from error


def read_through(stream: Stream) -> Iterator[None]:
    """Read a stream to its end, a step at a time, to see that it is whole; SourceError if it is not."""
    while stream.read(2**20):
        yield


def texts(block: Block, spans: Iterable[Span]) -> Iterator[bytes]:
    """The text of some rows of a block."""
    lines: list[bytes] = []
    for line, following in spans:
        lines = lines or block.data.split(b"\n")
        at = line - block.line
        yield lines[at] if following == line + 1 else b"\n".join(lines[at : following and following - block.line])


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
    data = b""
    pieces = chain.from_iterable(map(_few_lines, chain((head,), iter(partial(stream.read, size), b""))))
    for piece in pieces:
        data += piece
        end = ends(data)
        if not end and len(data) > MAX_REJECT:
            yield Block(data[: MAX_REJECT + 1] + b"\n", line, stream.position)
            line, data = line + 1, _rest_of_line(pieces, data)
        elif end:
            yield Block(data[:end], line, stream.position)
            line, data = line + data.count(b"\n", 0, end), data[end:]
    if data:
        yield Block(data if data.endswith(b"\n") else data + b"\n", line, stream.position)


def _few_lines(piece: bytes) -> Iterator[bytes]:
    """The halves of a piece, and so on, until none has so many lines that what is parsed of them fills the memory."""
    if piece.count(b"\n") <= _MOST_LINES:
        yield piece
    else:
        yield from _few_lines(piece[: len(piece) // 2])
        yield from _few_lines(piece[len(piece) // 2 :])


def _rest_of_line(pieces: Iterator[bytes], data: bytes) -> bytes:
    """Read on to the next line, and return what was read of it."""
    while data and b"\n" not in data:
        data = next(pieces, b"")
    return data.partition(b"\n")[2]
