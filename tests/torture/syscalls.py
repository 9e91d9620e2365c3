"""What a program told the disk, in its order, as strace records it; and what is there after a kill or a power cut."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random

from attrs import define, evolve, field, frozen

from tests.torture import warm

# --- what is told ----------------------------------------------------------------------------------------------------


@frozen
class Written:
    """Bytes of a file."""

    node: int
    at: int
    data: bytes


@frozen
class Resized:
    """The size of a file."""

    node: int
    size: int


@frozen
class Named:
    """A name in a directory, `node`, now of another file, or of none; the one it had before, if any, is gone."""

    node: int
    path: str
    file: int | None
    before: str | None = None


@frozen
class Synced:
    """What was told of a file or directory before that step is on the disk, whatever comes."""

    node: int
    before: int


@frozen
class Told:
    """Text on stdout."""

    text: str


Step = Written | Resized | Named | Synced | Told
State = Mapping[str, bytes]
"""Files that are there, by their path in the directory of a record."""


@frozen
class Record:
    """The steps of a program in a directory; the first `given` of them are what was there when it began."""

    steps: Sequence[Step]
    given: int
    directories: Collection[int]

    def state(self, steps: Iterable[Step]) -> State:
        """What is there if these steps are done, and no others."""
        files: dict[int, bytearray] = {}
        names: dict[str, int] = {}
        for step in steps:
            match step:
                case Written(node, at, data):
                    file = files.setdefault(node, bytearray())
                    file.extend(bytes(max(0, at - len(file))))
                    file[at : at + len(data)] = data
                case Resized(node, size):
                    file = files.setdefault(node, bytearray())
                    file[:] = file[:size].ljust(size, b"\0")
                case Named():
                    if step.before:
                        names.pop(step.before, None)
                    names.pop(step.path, None)
                    if step.file is not None:
                        names[step.path] = step.file
                case _:
                    pass
        return {
            path: bytes(files.get(node, b""))
            for path, node in names.items()
            if node not in self.directories
            and all(names.get(str(each)) in self.directories for each in list(Path(path).parents)[:-1])
        }

    def told(self, end: int) -> Sequence[str]:
        """The lines that have been told before a step."""
        return "".join(step.text for step in self.steps[:end] if isinstance(step, Told)).splitlines()

    def killed(self, end: int) -> State:
        """What is there if the program is killed before a step: all that it told the system."""
        return self.state(self.steps[:end])

    def cut(self, end: int, random: Random) -> Iterator[State]:
        """What may be there if the power goes before a step: of what was not synced, each thing is kept or lost."""
        done = self.steps[:end]
        synced: dict[int, int] = {}
        for step in done:
            if isinstance(step, Synced):
                synced[step.node] = max(synced.get(step.node, 0), step.before)
        loose = {  # in their order
            at: None
            for at, step in enumerate(done)
            if isinstance(step, Written | Resized | Named) and at >= max(self.given, synced.get(step.node, 0))
        }
        for kept in dict.fromkeys(_keepings([*loose], done, random)):
            yield self.state(
                evolve(step, data=step.data[: len(step.data) // 2])
                if at == kept.torn and isinstance(step, Written)
                else step
                for at, step in enumerate(done)
                if at in kept.steps or at not in loose
            )


@frozen
class _Kept:
    steps: Collection[int]
    torn: int | None = None


def _keepings(loose: Sequence[int], done: Sequence[Step], random: Random) -> Iterator[_Kept]:
    """What may be kept of the steps that are not synced: eight ways at least."""
    everything = frozenset(loose)
    yield _Kept(everything)
    yield _Kept(frozenset())
    yield _Kept(frozenset(loose[:-1]))
    yield _Kept(frozenset(loose[-1:]))
    yield _Kept(everything, torn=loose[-1] if loose else None)
    yield _Kept(frozenset(loose[1:]))
    for _ in range(8):
        yield _Kept(frozenset(at for at in loose if random.random() < 0.5))
    for node in {getattr(done[at], "node", None) for at in loose}:
        own = frozenset(at for at in loose if getattr(done[at], "node", None) == node)
        yield _Kept(own)
        yield _Kept(everything - own)


# --- how it is recorded ----------------------------------------------------------------------------------------------

_UNDERSTOOD = (
    *("open", "openat", "creat", "close", "write", "pwrite64", "lseek", "ftruncate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"),
)
_NOT_UNDERSTOOD = (
    *("writev", "pwritev", "pwritev2", "truncate", "fallocate", "sendfile", "copy_file_range", "splice"),
    *("link", "linkat", "symlink", "symlinkat", "rmdir", "dup", "dup2", "dup3"),
)
"""What would change files as well; the programs that are recorded do without, or the record is refused."""

_NOT_KEPT = "-shm"
"""SQLite's index of a write-ahead log: memory that is shared, made anew after a crash."""

SYNC_MICROSECONDS = 3_000
"""How long the disk takes to sync, at least: as much as a real one, so that the lanes work on meanwhile."""


@cache
def why_not() -> str | None:
    """What keeps system calls from being recorded here, if anything does."""
    if not shutil.which("strace"):
        return "strace is not installed"
    try:
        warm.run("this", env=os.environ, timeout=5, tracer=strace(os.devnull))
    except subprocess.TimeoutExpired:
        return "strace may not attach itself to a process"
    return None


def strace(log: Path | str, *options: str) -> list[str]:
    """The command that traces another, or a process, with its threads."""
    return ["strace", "-f", "-qq", "-o", str(log), *options]


def record(program: Sequence[str], directory: Path, log: Path, env: Mapping[str, str], code: int = 0) -> Record:
    """Run a module, with arguments, in a directory, and record what it does to the files there.

    It is to end with this exit code.
    """
    tracer = _Tracer(directory)
    calls = ",".join(f"?{each}" for each in (*_UNDERSTOOD, *_NOT_UNDERSTOOD, "mmap"))
    options = ("-xx", "-s", "1000000", "-e", f"trace={calls}")
    slow = ("-e", f"inject=fsync,fdatasync:delay_enter={SYNC_MICROSECONDS}")
    done = warm.run(*program, env=env, timeout=60, cwd=directory, tracer=strace(log, *options, *slow))
    assert done.returncode == code, done.stderr.decode()
    with log.open() as lines:
        for line in lines:
            tracer.read(line)
    return Record(tracer.steps, tracer.given, frozenset(tracer.directories.values()))


_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\w+|\?)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\w+|\?)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


def _texts(arguments: str) -> list[bytes]:
    found = _TEXT.findall(arguments)
    assert not any(more for _, more in found), "the record lacks bytes"
    return [bytes.fromhex(text.replace("\\x", "")) for text, _ in found]


@define
class _Opened:
    node: int
    position: int = 0


@define
class _Tracer:
    """Follows one process: which files of the directory its descriptors mean, and what it does to them."""

    root: Path
    steps: list[Step] = field(factory=list)
    given: int = 0
    names: dict[str, int] = field(factory=dict)
    directories: dict[str, int] = field(factory=dict)
    _open: dict[int, _Opened] = field(factory=dict)
    _begun: dict[str, tuple[str, int]] = field(factory=dict)
    _nodes: int = 0

    def __attrs_post_init__(self) -> None:
        self.root = self.root.resolve()
        self.directories["."] = self._new()
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            self._name(name, self._new(), is_directory=path.is_dir())
            if path.is_file():
                self.steps.append(Written(self.names[name], 0, path.read_bytes()))
        self.given = len(self.steps)

    def read(self, line: str) -> None:
        if found := _BEGUN.match(line):
            thread, call, arguments = found.groups()
            self._begun[thread] = arguments, len(self.steps)
            if call == "close":  # from here on, another thread may be given the number
                self._do(call, arguments, 0, len(self.steps))
        elif found := _RESUMED.match(line):
            thread, call, rest, result = found.groups()
            arguments, began = self._begun.pop(thread)
            if call != "close":
                self._do(call, arguments + rest, int(result, 0), began)
        elif found := _WHOLE.match(line):
            _, call, arguments, result = found.groups()
            self._do(call, arguments, int(result, 0), len(self.steps))

    def _do(self, call: str, arguments: str, result: int, began: int) -> None:
        if result < 0:
            return
        number = int(first) if (first := arguments.split(",")[0]).isdigit() else None
        opened = self._open.get(number) if number is not None else None
        match call:
            case "open" | "openat" | "creat":
                self._opens(arguments, result)
            case "close":
                self._open.pop(int(arguments), None)
            case "write" if number == 1:
                self.steps.append(Told(_texts(arguments)[0][:result].decode()))
            case "write" if opened:
                self.steps.append(Written(opened.node, opened.position, _texts(arguments)[0][:result]))
                opened.position += result
            case "pwrite64" if opened:
                at = int(arguments.split(", ")[-1])
                self.steps.append(Written(opened.node, at, _texts(arguments)[0][:result]))
            case "lseek" if opened:
                opened.position = result
            case "ftruncate" if opened:
                self.steps.append(Resized(opened.node, int(arguments.split(", ")[1])))
            case "fsync" | "fdatasync" if opened:
                self.steps.append(Synced(opened.node, began))
            case "rename" | "renameat" | "renameat2":
                old, new = map(self._inside, _texts(arguments))
                if old and new:
                    assert Path(old).parent == Path(new).parent, f"not understood: {call}({old}, {new})"
                    self._name(new, self.names.pop(old), before=old)
                assert (old is None) == (new is None), f"not understood: {call}({old}, {new})"
            case "unlink" | "unlinkat":
                if (path := self._inside(_texts(arguments)[0])) in self.names:
                    del self.names[path]
                    self._name(path, None)
            case "mkdir" | "mkdirat":
                if path := self._inside(_texts(arguments)[0]):
                    self._name(path, self._new(), is_directory=True)
            case "mmap":
                number = int(arguments.split(", ")[4])
                is_written = "PROT_WRITE" in arguments and "MAP_SHARED" in arguments
                assert not (is_written and number in self._open), f"not understood: {call}({arguments})"
            case _ if call in _NOT_UNDERSTOOD:
                paths = [self._inside(text) for text in _texts(arguments)]
                assert not opened, f"not understood: {call}({arguments})"
                assert not any(paths), f"not understood: {call}({paths})"
            case _:
                pass

    def _opens(self, arguments: str, number: int) -> None:
        self._open.pop(number, None)
        path = self._inside(_texts(arguments)[0])
        if path is None or path.endswith(_NOT_KEPT):
            return
        if path not in self.names and path not in self.directories:
            self._name(path, self._new())
        node = self.directories.get(path) or self.names[path]
        self._open[number] = _Opened(node)
        if "O_TRUNC" in arguments:
            self.steps.append(Resized(node, 0))
        assert "O_APPEND" not in arguments, "not understood: O_APPEND"

    def _name(self, path: str, node: int | None, before: str | None = None, is_directory: bool = False) -> None:
        if node is not None:
            (self.directories if is_directory else self.names)[path] = node
        self.steps.append(Named(self.directories[str(Path(path).parent)], path, node, before))

    def _inside(self, text: bytes) -> str | None:
        """The path in the directory, if it lies there."""
        path = self.root / text.decode(errors="surrogateescape")
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else None

    def _new(self) -> int:
        self._nodes += 1
        return self._nodes
