"""What an error says of the system on which a load runs."""

import errno

import pytest

from loader.core.errors import lacking


def _passed_on(error: Exception) -> SystemError:
    """What Python says where a function written in C has raised an error, and returned a result all the same."""
    passed_on = SystemError("<built-in function loads> returned a result with an exception set")
    passed_on.__cause__ = error
    return passed_on


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (MemoryError(), "memory"),
        (_passed_on(MemoryError()), "memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (OSError(errno.EMFILE, "Too many open files"), "open files"),
        (OSError(errno.ENFILE, "Too many open files in system"), "open files"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "memory or processes"),
        (OSError(errno.ENOENT, "No such file or directory"), None),
        (RuntimeError("dictionary changed size during iteration"), None),
        (_passed_on(ZeroDivisionError()), None),
        (ZeroDivisionError(), None),
    ],
)
def test_what_the_system_does_not_give_is_told_from_a_bug(error: Exception, lack: str | None) -> None:
    """Want of memory, threads, files or processes is no bug of loader's; whatever else may be one."""
    assert lacking(error) == lack
