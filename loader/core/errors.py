"""What can go wrong outside a record: with a declaration, the command line, a file or a database.

A row's fault is a value (`Rejection`), never an exception.
"""

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


class UpstreamError(LoaderError):
    """A dataset cannot be finished because one that it refers to was not."""

    title = "upstream dataset is not finished"


class OutputError(LoaderError):
    """The result or the rejects could not be written."""

    title = "output cannot be written"
