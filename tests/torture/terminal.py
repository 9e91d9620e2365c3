"""A pseudo-terminal, and what came there."""

import fcntl
import os
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from attrs import define, field

from tests.torture.strings import is_harmless

OWN = re.compile(r"\x1b\[(?:0m|1m|2m|31m|32m|33m|90m|91m|2K|1A|\?25l|\?25h)|\r?\n|\r")
"""All that the views themselves send besides text: their colours, the cursor, and going back to draw again."""


@define
class Terminal:
    """All bytes that a program has sent to a terminal; `theirs` is its side."""

    theirs: int
    seen: bytearray = field(factory=bytearray)

    def foreign(self) -> set[str]:
        """The characters that came there and are not to be printed, nor the views' own; what is no UTF-8 raises."""
        return {each for each in OWN.sub("", self.seen.decode()) if not is_harmless(each)}

    def shows(self, text: str) -> bool:
        return text.encode() in self.seen

    def wraps(self, text: str) -> bool:
        """Whether a text came there, in whatever lines."""
        return b"".join(text.encode().split()) in b"".join(self.seen.split())


@contextmanager
def terminal(columns: int = 200) -> Iterator[Terminal]:
    """A terminal that is read from until its other side is closed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    made = Terminal(theirs)

    def read() -> None:
        with suppress(OSError):  # so Linux tells that the other side was closed
            while piece := os.read(ours, 2**16):
                made.seen.extend(piece)

    reader = Thread(target=read)
    reader.start()
    try:
        yield made
    finally:
        os.close(theirs)
        reader.join(10)
        os.close(ours)
