"""What the system is told of directories, so that the names in them outlive a power cut, and of files in use."""

import os
import sys
from pathlib import Path
from time import time
from typing import IO


def sync(directory: Path) -> None:
    """Make the names in a directory durable; those of new files and directories may be lost till then.

    Windows opens no directory, and sees to it by itself.
    """
    if sys.platform == "win32":
        return
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

    On Windows nobody can remove or rename an open file anyway.
    """
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def put_in_place(file: IO[bytes], path: Path, place: Path) -> None:
    """Give an open file that is locked the name of another, which is gone then, and close it."""
    with file:
        if sys.platform == "win32":
            file.close()
        path.replace(place)


def remove_unused(path: Path) -> None:
    """Remove a file; OSError if it is locked, or on Windows if it is open."""
    if sys.platform == "win32":
        if time() - path.stat().st_mtime > _SOON:
            path.unlink()
        return
    with path.open("r+b") as file:
        lock(file.fileno(), wait=False)
        path.unlink()


_SOON = 60
"""Seconds within which a file that has been written and closed is put in its place."""
