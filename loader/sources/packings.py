"""How files may be compressed: by gzip, and by zstd where a library for it is there.

Whatever is damaged, cut off or followed by something else raises DamageError, at the latest when the end is read.
"""

import gzip
import sys
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import IO, Protocol

from attrs import frozen

from loader.core.errors import UsageError


class DamageError(Exception):
    """Compressed bytes that are not whole, or not alone."""


class Packed(Protocol):
    """Compressed bytes, read as what they hold; or plain ones."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most so many; none at the end."""


@frozen
class Packing:
    """A kind of compression: its name, how its files begin, what unpacks one, and what refuses if that cannot be."""

    name: str
    magic: bytes
    unpack: Callable[[IO[bytes]], Packed]
    require: Callable[[], object] = lambda: None


class _Gzip:
    """The content of gzip members."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._file = gzip.GzipFile(fileobj=raw)

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DamageError(str(error)) from error


class _Zstd:
    """The content of zstd frames (RFC 8878); the library's own file takes a damaged second one for the end."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._library = zstd()
        self._frame = self._library.ZstdDecompressor()
        self._raw, self._packed = raw, b""
        self._begun = False  # a frame, which is to have an end

    def read(self, size: int, /) -> bytes:
        while True:
            if not self._packed and (not self._begun or self._frame.needs_input):
                self._packed = self._raw.read(2**17)
                if not self._packed and self._begun:
                    raise DamageError("it ends before its end")
                if not self._packed:
                    return b""
            if data := self._next(size):
                return data

    def _next(self, size: int) -> bytes:
        """What the next step brings, which may be nothing."""
        try:
            data: bytes = self._frame.decompress(self._packed, size)
        except self._library.ZstdError as error:
            raise DamageError(str(error)) from error
        self._begun, self._packed = not self._frame.eof, b""
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, self._library.ZstdDecompressor()
        return data


def zstd() -> ModuleType:
    """The library for zstd, looked for only when it is needed; UsageError if it is not there."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise UsageError("to read .zst, install the extra of that name: pip install 'crossload[zst]'") from None
    return zstd


PACKINGS = {
    ".gz": Packing("gzip", b"\x1f\x8b", _Gzip),
    ".zst": Packing("zstd", b"\x28\xb5\x2f\xfd", _Zstd, zstd),
}
"""By the last ending of a file's name."""
