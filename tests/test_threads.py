"""Beside the event loop: nobody waits for ever for a thread that there is no room for."""

import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from loader.threads import try_for

LITTLE = """
import asyncio, resource, sys, threading
from loader.targets.sqlite import connect
from loader.threads import in_thread

async def begin_one():
    threading.stack_size(2**23)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)
    try:
        if sys.argv[1] == "a source":
            await in_thread(lambda: None)
        else:
            async with connect("a database", ""):
                pass
    except MemoryError:
        print("too little")

asyncio.run(begin_one())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no telling here how much memory is used")
@pytest.mark.parametrize("kibibytes", [8, 12])
@pytest.mark.parametrize("what", ["a source", "a database"])
def test_a_thread_that_has_room_for_its_stack_only_is_not_waited_for(what: str, kibibytes: int) -> None:
    """It would end before it has begun, of which nobody is told; so there is too little memory for it."""
    left = 2**23 + kibibytes * 1024
    done = subprocess.run([sys.executable, "-c", LITTLE, what, str(left)], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("too little\n", "")


def test_a_call_that_takes_for_ever_is_not_waited_for() -> None:
    """Other than one that does not, which is done then."""
    done, go_on = list[bool](), Event()
    try_for(60, lambda: done.append(Event().wait(0.1)))
    assert done == [False]
    try_for(0.1, lambda: done.append(go_on.wait(10)))
    assert done == [False]
    go_on.set()
