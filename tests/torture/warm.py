"""Programs that begin at once: copies of a process that has imported the loader, and waits for what they are to be.

To start Python and to import takes ten times as long as to load a sample. So what is no matter of that, of `PYTHON...`
variables or of the locale, is tried with a copy. It has the arguments, streams, directory, environment and session that
it would be started with, and goes from the first line of its module to the end of Python as it would then. If strace is
to trace it, it waits for that before its first line.
"""

import atexit
import ctypes
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self

from attrs import define

Stream = int | IO[Any] | None
"""What a program is to have for a standard stream, if not subprocess.DEVNULL; None if it is to be closed."""

_LONGEST = 2**17  # bytes of a request

# --- from outside ----------------------------------------------------------------------------------------------------


@define
class Program:
    """A program at work, much as subprocess.Popen has it."""

    args: Sequence[str]
    pid: int
    _answers: socket.socket
    _tracer: "subprocess.Popen[bytes] | None" = None
    returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the number of what killed it; subprocess.TimeoutExpired if it has not ended then."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = int(self._answers.recv(16))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0) from None
        return self.returncode

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, which is told in a moment
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _begin_to_trace(self, tracer: Sequence[str]) -> None:
        """Let it go on from where it has stopped itself, once it is stopped by the tracer, which sees all that follows.

        If that may not trace it, it never goes on.
        """
        while self._state != "T":
            time.sleep(0.001)
        self._tracer = subprocess.Popen([*tracer, "-p", str(self.pid)])
        while self._state != "t" and self._tracer.poll() is None:
            time.sleep(0.001)
        if self._state == "t":
            os.kill(self.pid, signal.SIGCONT)

    @property
    def _state(self) -> str:
        """As proc(5) has it: T if it is stopped, t if a tracer has stopped it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2][1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind:
            self.kill()
        self.wait()
        if self._tracer:
            self._tracer.wait()
        self._answers.close()


@cache
def _server() -> socket.socket:
    """What the process that waits takes requests from; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        ).returncode = 0  # nobody waits for it
    atexit.register(ours.close)
    return ours


def begin(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    streams: Sequence[Stream],
    cwd: Path | None = None,
    session: bool = False,
    longest_file: int | None = None,
    tracer: Sequence[str] = (),
) -> Program:
    """Begin `python -m MODULE ARGUMENT...`, perhaps in a session of its own or with a limit of the size of files.

    With a tracer, the command of an strace that lacks its process, no system call of the program itself escapes it.
    """
    request = {
        "module": module,
        "arguments": arguments,
        "env": dict(env),
        "cwd": str(cwd or Path.cwd()),
        "numbers": [number for number, stream in enumerate(streams) if stream is not None],
        "session": session,
        "longest_file": longest_file,
        "is_traced": bool(tracer),
    }
    answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, open(os.devnull, "r+b", buffering=0) as nothing:
        given = [nothing if stream == subprocess.DEVNULL else stream for stream in streams if stream is not None]
        descriptors = [stream if isinstance(stream, int) else stream.fileno() for stream in given]
        socket.send_fds(_server(), [json.dumps(request).encode()], [theirs.fileno(), *descriptors])
    program = Program([module, *arguments], int(answers.recv(16)), answers)
    if tracer:
        program._begin_to_trace(tracer)
    return program


def run(
    module: str, *arguments: str, env: Mapping[str, str], timeout: float, **how: Any
) -> "subprocess.CompletedProcess[bytes]":
    """Run `python -m MODULE ARGUMENT...`, with nothing on stdin, to its end; subprocess.TimeoutExpired if it hangs."""
    with ExitStack() as stack:
        out, err = (stack.enter_context(TemporaryFile()) for _ in range(2))
        program = stack.enter_context(begin(module, *arguments, env=env, streams=(subprocess.DEVNULL, out, err), **how))
        program.wait(timeout)
        said = [os.pread(each.fileno(), 2**24, 0) for each in (out, err)]
        return subprocess.CompletedProcess(program.args, program.wait(), *said)


# --- from inside -----------------------------------------------------------------------------------------------------


def _wait_to_be_something(requests: socket.socket) -> tuple[Any, Sequence[int]]:
    """Make a copy at each request, and end when there are no more; in a copy, return what it is to be.

    Between the two is a process that waits for the copy to end, and tells how it did.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 4)
        if not request:
            sys.exit()
        if not os.fork():
            break
        _close(descriptors)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    requests.close()
    answers, *streams = descriptors
    if copy := os.fork():
        _close(streams)
        os.write(answers, str(copy).encode())
        os.write(answers, str(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])).encode())
        os._exit(0)
    os.close(answers)
    return json.loads(request), streams


def _close(descriptors: Sequence[int]) -> None:
    for each in descriptors:
        os.close(each)


def _settle(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Have what the program would be started with, and the streams that Python would have made of that."""
    if request["session"]:
        os.setsid()
    if request["longest_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["longest_file"],) * 2)
    os.closerange(0, 3)
    for number, stream in zip(request["numbers"], streams, strict=True):
        os.dup2(stream, number)
    _close(streams)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # these may run in the background, where it is ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv = ["", *request["arguments"]]
    modes = {"stdin": ("r", "strict", -1), "stdout": ("w", "strict", -1), "stderr": ("w", "backslashreplace", 1)}
    for number, (name, how) in enumerate(modes.items()):
        text = _stream(number, *how) if number in request["numbers"] else None
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)


def _stop_for_tracer() -> None:
    """Go on when it is traced; the tracer is no ancestor, so some systems want to be told that it may be one."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY)
    os.kill(os.getpid(), signal.SIGSTOP)


def _stream(number: int, mode: str, errors: str, buffering: int) -> IO[str]:
    return open(number, mode, buffering, encoding="utf-8", errors=errors, newline="\n", closefd=False)


if __name__ == "__main__":
    import loader.cli  # noqa: F401 - and with it nearly all that a load takes

    request, streams = _wait_to_be_something(socket.socket(fileno=int(sys.argv[1])))
    _settle(request, streams)
    if request["is_traced"]:
        _stop_for_tracer()
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
