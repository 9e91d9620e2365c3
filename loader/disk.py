"""What the system is told of directories, so that the names in them outlive a power cut, and of files in use."""

import os
import sys
from pathlib import Path


def sync(directory: Path) -> None:
    """Make the names in a directory durable; those of new files and directories may be lost till then."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, durably, where they are missing."""
    missing = [each for each in (path, *path.parents) if not each.is_dir()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync(each.parent)


def lock(file: int, wait: bool) -> None:
    """Keep an open file from others that lock it, as long as it is open; OSError if one has it, and is not waited for.

    On Windows nobody can remove an open file anyway.
    """
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
