"""The public names; `loader` offers them as its own."""

from loader.core.dataset import Dataset
from loader.core.errors import LoaderError
from loader.core.events import Closed, Committed, Event, Observer, Opened, Read, Rejected, Untried, Waits
from loader.core.limits import RejectLimit
from loader.core.records import Cause, Place, Reason, Rejection
from loader.core.report import Counts, Report, Tally
from loader.core.values import email, max_places, not_blank
from loader.pipeline import Job, load, run
from loader.sources import FileSource, Source, file_source
from loader.sources.rows import rows
from loader.targets import Target
from loader.targets.sqlite import SqliteTarget
from loader.verifying import verify

__all__ = [
    "Cause",
    "Closed",
    "Committed",
    "Counts",
    "Dataset",
    "Event",
    "FileSource",
    "Job",
    "LoaderError",
    "Observer",
    "Opened",
    "Place",
    "Read",
    "Reason",
    "RejectLimit",
    "Rejected",
    "Rejection",
    "Report",
    "Source",
    "SqliteTarget",
    "Tally",
    "Target",
    "Untried",
    "Waits",
    "email",
    "file_source",
    "load",
    "max_places",
    "not_blank",
    "rows",
    "run",
    "verify",
]
