"""What can go wrong outside a record: with a declaration, the command line, a file, a database or the system.

A row's fault is a value (`Rejection`), never an exception.
"""

import errno
from typing import ClassVar


class LoaderError(Exception):
    """Something the user can mend; its text names the file or database and the way out.

    `title` is the kind of problem and `detail` this case of it, as in RFC 9457.
    """

    title: ClassVar[str] = "loader cannot go on"

    @property
    def detail(self) -> str:
        return str(self)


class UsageError(LoaderError):
    """The command line, the configuration or a call asks for what cannot be done; nothing was opened for writing."""

    title = "wrong use"


class DeclarationError(UsageError):
    """A dataset is declared in a way that cannot be loaded."""

    title = "wrong declaration"


class SourceError(LoaderError):
    """A source cannot be used, or not to its end."""

    title = "source cannot be used"


class TargetError(LoaderError):
    """A database cannot be used, or a batch could not be committed to it."""

    title = "database cannot be used"


class ParsingError(LoaderError):
    """What parses blocks has broken down."""

    title = "parsing cannot go on"


class RejectLimitError(LoaderError):
    """More records of a dataset were rejected than allowed."""

    title = "too many rejects"


class ResourceError(LoaderError):
    """The system gives too little of what a load takes."""

    title = "too little memory, threads or open files"


class UpstreamError(LoaderError):
    """A dataset cannot be finished because one that it refers to was not."""

    title = "upstream dataset is not finished"


class TogetherError(LoaderError):
    """A dataset is not stored because another one could not be, and all were to be or none."""

    title = "not all of the load can be stored"


class OutputError(LoaderError):
    """The result or the rejects could not be written."""

    title = "output cannot be written"


def lacking(error: BaseException) -> str | None:
    """What the system does not give, if an error says so: memory, threads, open files."""
    match error:
        case MemoryError() | SystemError(__cause__=MemoryError()):  # as orjson passes it on at times
            return "memory"
        case RuntimeError(args=("can't start new thread",)):
            return "threads"
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return "open files"
        case OSError(errno=errno.ENOMEM | errno.EAGAIN):
            return "memory or processes"
    return None
