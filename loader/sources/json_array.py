"""A JSON array of objects, streamed: ijson proves the file sound, then it is cut into lines of one element each."""

import re
from collections.abc import Iterator

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.records import MAX_REJECT, MAX_ROW, Block
from loader.sources.files import Stream, cut
from loader.sources.ndjson import NdjsonReader, open_ndjson

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = re.compile(rb'[\s,]*+(\{[^{}\[\]"]*+(?:' + _STRING + rb'[^{}\[\]"]*+)*+\})', re.DOTALL)
_TOKEN = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)
_GAP = re.compile(rb"[\s,]*+")


def read_array_through(stream: Stream) -> Iterator[None]:
    """Read a stream to its end, a step at a time; raise SourceError if it is not one well-formed JSON array.

    Nor may it hold a value that would fill the memory before the parser has told of it.
    """
    import ijson  # only now: it takes a tenth of the start

    name = stream.name
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events)
    begin, silent = b"", 0
    try:
        while piece := stream.read(2**18):
            begin = begin or piece.lstrip()[:1]
            if begin not in (b"", b"["):
                raise SourceError(f"{name} is not a JSON array (one object a line goes by the name .ndjson)")
            parser.send(piece)
            silent = 0 if events else silent + len(piece)
            if silent > MAX_REJECT:
                raise SourceError(f"{name} holds a value, or a gap, of more than {MAX_REJECT // 2**20} MiB")
            del events[:]
            yield
        parser.close()
    except SystemError as error:  # so the parser tells of more digits than Python takes
        raise SourceError(f"{name} holds a number of thousands of digits") from error
    except ArithmeticError as error:
        raise SourceError(f"{name} holds a number with an exponent of twenty digits or so") from error
    except UnicodeDecodeError as error:  # all else that is no UTF-8 has been found before
        raise SourceError(f"{name} is not a well-formed JSON array: it holds half of a surrogate pair") from error
    except (ijson.JSONError, ValueError) as error:
        [text] = error.args[:1] or [""]
        detail = text.decode(errors="replace") if isinstance(text, bytes) else str(error)
        raise SourceError(f"{name} is not a well-formed JSON array: {detail.strip().partition(chr(10))[0]}") from error


class _Elements:
    """The elements of an array that is known to be sound, read as lines."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = b""
        self._begun = False

    @property
    def position(self) -> int:
        return self._stream.position

    def read(self, size: int) -> bytes:
        while piece := self._stream.read(max(size, len(self._data))):
            self._data += piece
            if not self._begun:
                _, bracket, self._data = self._data.partition(b"[")
                self._begun = bool(bracket)
            if lines := b"".join(self._whole()):
                return lines
            if len(self._data) > MAX_REJECT:
                return self._beginning() + b"".join(self._whole())
        return b""

    def _whole(self) -> Iterator[bytes]:
        """Take the elements that are there to their end, as lines."""
        at = 0
        while True:
            flat = _FLAT.match(self._data, at)
            begin, end = flat.span(1) if flat else self._any_element(at)
            if not end:
                break
            yield _line(self._data[begin:end])
            at = end
        self._data = self._data[at:]

    def _any_element(self, at: int) -> tuple[int, int]:
        """Where the next element begins and ends, whatever it is; (0, 0) if its end is not there yet."""
        gap = _GAP.match(self._data, at)
        begin = gap.end() if gap else at
        is_there, end, _ = self._end(begin, 0)
        return (begin, end) if is_there and end > begin else (0, 0)

    def _end(self, at: int, depth: int) -> tuple[bool, int, int]:
        """Look for the end of an element from a place within it, so deep in brackets.

        Returns whether it is there, and where; or else how far one has looked, and how deep it is there.
        """
        for token in _TOKEN.finditer(self._data, at):
            match token[0]:
                case b"[" | b"{":
                    depth += 1
                case b"]" | b"}" if depth > 1:
                    depth -= 1
                case b"]" | b"}" if depth == 1:
                    return True, token.end(), 0
                case b"," | b"]" if depth == 0:
                    return True, token.start(), 0
                case b'"':
                    return False, token.start(), depth  # a string that is not there to its end
            at = token.end()
        return False, at, depth

    def _beginning(self) -> bytes:
        """Take an element that is too long to be a row: enough of it to be seen to be so."""
        gap = _GAP.match(self._data)
        begin = gap.end() if gap else 0
        line = _line(self._data[begin : begin + MAX_ROW + 1])
        is_there, at, depth = self._end(begin, 0)
        while not is_there and (piece := self._stream.read(2**18)):
            self._data = self._data[at:] + piece
            is_there, at, depth = self._end(0, depth)
        self._data = self._data[at:]
        return line


def _line(element: bytes) -> bytes:
    return element.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


def open_json(
    stream: Stream, name: str, dataset: Dataset, ignore_extra: bool, block_size: int
) -> tuple[NdjsonReader, tuple[str, ...], Iterator[Block]]:
    """What splits the blocks of a JSON array, its columns, and the blocks; their lines count elements."""
    reader, columns, _ = open_ndjson(stream, name, dataset, ignore_extra, block_size)
    return reader, columns, cut(_Elements(stream), block_size)
