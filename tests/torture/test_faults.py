"""Disks, limits, other programs and files that fail a load: it says so and ends, and running again finishes it."""

import os
import resource
import shutil
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tests.torture import some
from tests.torture.ends import Files, _place, check_finished_by_running_again, check_intact, check_told, files, load

__all__ = ["_place", "files"]

OUTPUTS = (".db", "rejects", "result.json")


# --- what the system does not give -----------------------------------------------------------------------------------


def limited(what: int, most: int) -> Callable[[], None]:
    """What a child process calls to have no more of it."""
    return partial(resource.setrlimit, what, (most, most))


def fails(calls: str, error: str, when: str, *paths: str) -> Sequence[str]:
    """What to begin a program with whose system calls fail: the `when`-th of each thread, or with `+` also all later.

    With paths, only calls count that have to do with them.
    """
    injected = ("-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}")
    chosen = [part for path in paths for part in ("-P", path)]
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, *injected, *chosen]


needs_strace = pytest.mark.skipif(
    not shutil.which("strace"), reason="strace, which lets system calls fail, is not there"
)


@pytest.mark.parametrize("most", some(range(6, 24), 2))
def test_few_open_files(most: int, files: Files) -> None:
    """From as many on as Python takes to begin: what could not be opened is named."""
    done = load(files.path, preexec_fn=limited(resource.RLIMIT_NOFILE, most))
    if done.code != 1:
        check_told(done, *OUTPUTS, ".csv")
    check_intact()
    check_finished_by_running_again(files)


@pytest.mark.parametrize("mebibytes", some((40, 50, 60, 80, 90, 100, 110, 120, 130, 140, 160, 180, 220, 260, 300), 2))
def test_little_memory(mebibytes: int, files: Files) -> None:
    """What could not be loaded is named, or that the program cannot begin; a library that crashes leaves all intact."""
    done = load(files.path, preexec_fn=limited(resource.RLIMIT_AS, mebibytes * 2**20))
    assert done.code in (1, 3, -11), done  # orjson crashes where there is no memory for what it makes
    if done.code == 3 and "it cannot be started" not in done.err:
        check_told(done, *OUTPUTS, ".csv")
    check_intact()
    check_finished_by_running_again(files)


@needs_strace
@pytest.mark.parametrize("when", some([f"{number}{onwards}" for number in range(1, 11) for onwards in ("", "+")], 2))
def test_no_more_threads(when: str, files: Files) -> None:
    """A thread that cannot begin fails its dataset, which is named."""
    done = load(files.path, before=fails("clone,clone3", "EAGAIN", when))
    check_told(done, ".csv")
    check_intact()
    check_finished_by_running_again(files)
