"""The terminal as text: what is shown at several widths, and what never gets through to it."""

import fcntl
import io
import os
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from loader.cli import main
from loader.core.errors import LoaderError
from loader.core.events import Closed, Committed, Event, Opened, Read, Rejected, Untried, Waits
from loader.core.records import Place, Reason, Rejection
from loader.core.report import Report, Tally
from loader.view import LiveView, PlainView, console, safe, summary
from tests.test_cli import NAMES, command, environment, result, settle_in, stored, totals, write


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)
    monkeypatch.setattr(Report, "seconds", 10.0)


# --- moments of a load -----------------------------------------------------------------------------------------------


def rejected(dataset: str, line: int, *reasons: Reason, source: str = "") -> Rejected:
    return Rejected(dataset, [Rejection(Place(source or f"data/{dataset}.csv", line, line - 1), {}, reasons)])


BOB = Reason("constraint-error", "email", "not an e-mail address: 'bob@'")
NOBODY = Reason("foreign-key", "user_id", "no user 990001")

START: list[Event] = [Opened("users", frozenset({"csv"}), (), 100), Opened("products", frozenset({"csv"}), (), 40)]
MIDDLE: list[Event] = [
    Opened("orders", frozenset({"csv"}), (), 300),
    Read("users", 1_240_000, 50),
    Committed("users", 1_238_112, 0, 0),
    Read("products", 50_000, 40),
    Committed("products", 49_990, 0, 0),
    Closed("products", "complete", None, 2.0),
    Read("orders", 2_480_000, 20),
    Waits("orders", "users"),
    *(rejected("users", line, BOB) for line in range(48_211, 48_221)),
    rejected("orders", 9_120, NOBODY, Reason("type-error", "id", "not an integer: 'x'")),
]
FAILURE: list[Event] = [
    Waits("orders", None),
    Closed("users", "failed", LoaderError("users.db: the disk is full"), 8.0),
    Untried("orders", 5),
    Closed("orders", "stopped", LoaderError("orders refers to users"), 9.0),
]
END: list[Event] = [
    Waits("orders", None),
    Committed("users", 0, 0, 1_878),
    Closed("users", "complete", None, 10.0),
    Committed("orders", 2_000_000, 3, 0),
    Closed("orders", "complete", None, 12.0),
]


def screen(width: int, encoding: str = "utf-8") -> Console:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="")
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False, color_system=None)


def text(on: Console, shown: RenderableType) -> list[str]:
    """The lines that a screen shows, without the blanks at their ends."""
    on.print(shown)
    assert isinstance(on.file, io.TextIOWrapper)
    on.file.flush()
    assert isinstance(on.file.buffer, io.BytesIO)
    return [line.rstrip() for line in on.file.buffer.getvalue().decode(on.file.encoding).split("\n")]


def report_of(events: Sequence[Event]) -> Report:
    report = Report.of(Tally(name, (f"data/{name}.csv",), f"{name}.db") for name in NAMES)
    for event in events:
        report(event)
    return report


def frame(width: int, events: Sequence[Event], encoding: str = "utf-8") -> list[str]:
    report, on = report_of(events), screen(width, encoding)
    view = LiveView(report, on)
    for event in events:
        view(event)
    return text(on, view.frame())


def cells(lines: Sequence[str], name: str) -> list[str]:
    """What stands in the line of a dataset, without its bar."""
    [line] = [line for line in lines if re.match(rf"\S {name}\b", line)]
    return [cell for cell in line.split() if not set(cell) <= set("━╸╺-")]


# --- the live table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("events", [[], START, START + MIDDLE, START + MIDDLE + FAILURE, START + MIDDLE + END])
def test_no_line_is_wider_than_the_screen(width: int, events: list[Event]) -> None:
    """At every moment each line fits, and there is a line for each dataset."""
    lines = frame(width, events)
    assert max(map(len, lines)) <= width
    assert [line.split()[1] for line in lines[2:5]] == list(NAMES)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_has_no_size_has_no_time_left(width: int) -> None:
    """Of a pipe the counts and the pace are shown, and a bar that is full when it is done."""
    events: list[Event] = [
        Opened("users", frozenset({"csv"}), (), 0),
        Read("users", 1_000, 0),
        Committed("users", 1_000, 0, 0),
    ]
    lines = frame(width, events)
    assert (
        cells(lines, "users")[2:]
        == ["1,000", "1,000", *(["0"] if width == 120 else []), "0"]
        + ({40: [], 80: ["100"], 120: ["100", *["users.csv", "→", "users.db"]]}[width])
    )
    done = frame(width, [*events, Closed("users", "complete", None, 10.0)])
    assert "done" in cells(done, "users") or width == 40


def test_at_80_columns() -> None:
    """The table has progress, counts, pace and what a lane waits for; below are the latest rejects."""
    lines = frame(80, START + MIDDLE)
    assert lines[0] == "Dataset     Progress                  Read   Inserted  Rejected   Rows/s    Left"
    assert lines[1] == "─" * 80
    assert lines[2] == "▸ users     ━━━━━━━━━╸           1,240,000  1,238,112        10     124k    0:10"
    assert lines[3] == "✓ products  ━━━━━━━━━━━━━━━━━━━     50,000     49,990         0      25k    done"
    assert cells(lines, "orders") == ["▸", "orders", "2,480,000", "0", "1", "waits", "for", "users"]
    assert lines[5:7] == ["", "Latest rejects (11 so far)"]
    assert lines[7:12] == [
        *(f"users.csv:{line}  constraint-error  email: not an e-mail address: 'bob@'" for line in range(48217, 48221)),
        "orders.csv:9120  foreign-key       user_id: no user 990001 (and 1 more)",
    ]


def test_at_120_columns() -> None:
    """A wide table also has what was there already, and where rows come from and go to."""
    lines = frame(120, START + MIDDLE + END)
    assert lines[0].split()[2:7] == ["Read", "Inserted", "Updated", "Unchanged", "Rejected"]
    assert lines[0].endswith("Source → target")
    assert cells(lines, "users")[2:7] == ["1,240,000", "1,238,112", "0", "1,878", "10"]
    assert cells(lines, "users")[7:] == ["124k", "done", "users.csv", "→", "users.db"]
    assert cells(lines, "orders")[2:7] == ["2,480,000", "2,000,000", "3", "0", "1"]
    assert "Updated" not in frame(120, START + MIDDLE)[0]


def test_at_40_columns() -> None:
    """A narrow table has the counts, whole, and the latest rejects below it."""
    lines = frame(40, START + MIDDLE)
    assert lines[0].split() == ["Dataset", "Read", "Inserted", "Rejected"]
    assert cells(lines, "users") == ["▸", "users", "1,240,000", "1,238,112", "10"]
    assert cells(lines, "products") == ["✓", "products", "50,000", "49,990", "0"]
    assert "Latest rejects (11 so far)" in lines
    assert lines[-2].startswith("orders.csv:9")


def test_the_latest_rejects_are_shown() -> None:
    """Of many that are told at once, the last are the latest."""
    each = [rejected("users", line, BOB).rejections[0] for line in range(2, 102)]
    lines = frame(80, [*START, Rejected("users", each[:50]), Rejected("users", each[50:])])
    assert [line.split()[0] for line in lines if "constraint-error" in line] == [
        f"users.csv:{at}" for at in range(97, 102)
    ]


def test_before_anything_happened() -> None:
    """At first there are noughts, and no rejects."""
    lines = frame(80, [])
    assert cells(lines, "users") == ["▸", "users", "0", "0", "0", "0"]
    assert lines[5:] == [""]


def test_what_failed_and_what_stopped() -> None:
    """Marks and words tell how each dataset ended."""
    lines = frame(80, START + MIDDLE + FAILURE)
    assert (cells(lines, "users")[0], cells(lines, "users")[-1]) == ("✗", "failed")
    assert (cells(lines, "orders")[0], cells(lines, "orders")[-1]) == ("✗", "stopped")
    lines = frame(80, [*START, Closed("users", "interrupted", None, 1.0)])
    assert (cells(lines, "users")[0], cells(lines, "users")[-1]) == ("‖", "interrupted")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_where_there_is_only_ascii(width: int) -> None:
    """On a screen that has only ASCII every sign has a plain form, and no line is too wide."""
    events = START + MIDDLE + END
    on = screen(width, "ascii")
    lines = frame(width, events, "ascii") + text(on, summary(report_of(events), on))
    assert all(line.isascii() for line in lines)
    assert max(map(len, lines)) <= width
    assert not any("\\u" in line for line in lines)
    assert cells(lines[:5], "users")[0] == "+"


# --- the summary -----------------------------------------------------------------------------------------------------


def summarised(width: int, events: Sequence[Event]) -> list[str]:
    on = screen(width)
    return text(on, summary(report_of(events), on))


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("end", [END, FAILURE], ids=["end", "failure"])
def test_the_summary_has_every_count(width: int, end: list[Event]) -> None:
    """At any width each count stands there, whole, in a line of its dataset, and nothing is too wide."""
    lines = summarised(width, START + MIDDLE + end)
    assert max(map(len, lines)) <= width
    for name, tally in report_of(START + MIDDLE + end).tallies.items():
        begin = next(at for at, line in enumerate(lines) if name in line)
        of_dataset = re.split(r"[ ,]* [ ,]*", " ".join(lines[begin : begin + 3]))
        for count in (tally.counts.read, tally.counts.inserted, tally.counts.rejected):
            assert f"{count:,}" in of_dataset


def test_the_summary_says_why() -> None:
    """Below the counts stand the reasons: code, field, how many, and where first."""
    lines = summarised(80, START + MIDDLE + END)
    assert lines[0].split() == ["Dataset", "Read", "Inserted", "Updated", "Unchanged", "Rejected", "Seconds"]
    assert cells(lines[:6], "orders") == ["✓", "orders", "2,480,000", "2,000,000", "3", "0", "1", "12.00"]
    assert [line.split() for line in lines[6:11]] == [
        ["Why", "rejected", "Field", "Count", "First"],
        [lines[7]],
        ["constraint-error", "users.email", "10", "data/users.csv:48211"],
        ["foreign-key", "orders.user_id", "1", "data/orders.csv:9120"],
        ["type-error", "orders.id", "1", "data/orders.csv:9120"],
    ]
    assert not set(lines[7]) - {"─"}


def test_the_summary_names_each_row_if_they_are_few() -> None:
    """Where nobody saw the rejects pass by, a few of them stand in the summary, each with all its reasons."""
    on = screen(80)
    lines = text(on, summary(report_of(START + MIDDLE + END), on, with_rejects=True))
    assert [line.split(maxsplit=1) for line in lines[-3:]] == [
        ["data/orders.csv:9120", "user_id: no user 990001"],
        ["id:", "not an integer: 'x'"],
        [],
    ]
    assert sum("bob@" in line for line in lines) == 10
    many = START + MIDDLE + [rejected("users", line, BOB) for line in range(10)] + END
    on = screen(80)
    assert text(on, summary(report_of(many), on, with_rejects=True)) == summarised(80, many)


def test_the_summary_says_what_failed() -> None:
    """What kept a dataset from being finished stands there as well."""
    lines = summarised(80, START + MIDDLE + FAILURE)
    assert "users failed: users.db: the disk is full" in lines
    assert "orders stopped: orders refers to users" in lines
    assert lines[0].split()[-2:] == ["Untried", "Seconds"]


def test_a_clean_summary_has_no_reasons() -> None:
    """Where nothing was rejected there is the table only."""
    lines = summarised(80, [*START, Read("users", 1, 100), Committed("users", 1, 0, 0)])
    assert lines[0].split() == ["Dataset", "Read", "Inserted", "Rejected", "Seconds"]
    assert lines[5:] == [""]


# --- plain lines -----------------------------------------------------------------------------------------------------


def plain(events: Sequence[Event]) -> list[str]:
    report, on = report_of([]), screen(80)
    view = PlainView(report, on)
    for event in events:
        report(event)
        view(event)
    return text(on, "")[:-2]


def test_plain_lines_tell_what_happens() -> None:
    """Without a terminal there is a line at each change, however long, and no escape sequence."""
    lines = plain(START + MIDDLE + END)
    assert lines[:4] == [
        "users: loads data/users.csv into users.db",
        "products: loads data/products.csv into products.db",
        "orders: loads data/orders.csv into orders.db",
        "products: complete, 50,000 read, 49,990 inserted, 0 rejected",
    ]
    assert lines[4] == "orders: waits for users"
    assert lines[5] == "data/users.csv:48211  constraint-error  email: not an e-mail address: 'bob@'"
    two = "foreign-key  user_id: no user 990001; type-error  id: not an integer: 'x'"
    assert lines[15] == f"data/orders.csv:9120  {two}"
    assert lines[16] == "users: complete, 1,240,000 read, 1,238,112 inserted, 1,878 unchanged, 10 rejected"
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("at_once", [1, 7, 10, 20, 64])
def test_plain_lines_end_after_twenty_rejects(at_once: int) -> None:
    """Of many rejects the first 20 are shown, and one line says that there are more, however many are told at once."""
    each = [rejected("users", line, BOB).rejections[0] for line in range(2, 102)]
    lines = plain([*START, *(Rejected("users", each[at : at + at_once]) for at in range(0, 100, at_once))])
    shown = [line for line in lines if "constraint-error" in line]
    assert [line.split()[0] for line in shown] == [f"data/users.csv:{line}" for line in range(2, 22)]
    assert lines[-1] == "further rejects are not shown here"
    assert len(lines) == 23


def test_twenty_rejects_are_all() -> None:
    """If there are no more than 20, none is said to be hidden."""
    each = [rejected("users", line, BOB).rejections[0] for line in range(2, 22)]
    assert len(plain([*START, Rejected("users", each[:15]), Rejected("users", each[15:])])) == 22


def test_plain_lines_count_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset at work tells its counts every few seconds, and not at every batch."""
    now = [0.0]
    monkeypatch.setattr("loader.view.monotonic", lambda: now[0])
    report, on = report_of([]), screen(80)
    view = PlainView(report, on)
    for event in START:
        view(event)
    for _ in range(100):
        now[0] += 0.1
        for event in (Read("users", 10, 1), Committed("users", 10, 0, 0)):
            report(event)
            view(event)
    lines = [line for line in text(on, "") if "read" in line]
    assert len(lines) == 3
    assert lines[-1].startswith("users: ")


# --- text from outside -----------------------------------------------------------------------------------------------

HOSTILE = {
    "colour": "\x1b[31mred",
    "cursor": "\x1b[2J\x1b[H",
    "link": "\x1b]8;;http://x.example\x1b\\text\x1b]8;;\x1b\\",
    "title": "\x1b]0;title\x07",
    "C1": "\x9b31m\x9d0;x\x9c",
    "nul": "a\x00b",
    "delete": "a\x7f\x08b",
    "return": "one\rtwo",
    "lines": "one\ntwo\u2028three\x85four",
    "bidi": "\u202etxt.exe\u202c \u2066x\u2069 \u200f",
    "invisible": "a\u200bb\u200dc\u2060d\ufeffe\u00adf",
    "surrogate": "a\udcffb\ud800c",
    "private": "\ue000\U000f0000",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
def test_safe_escapes_what_commands_a_terminal(foreign: str) -> None:
    """Whatever is not to be printed is shown as an escape, of which nothing is lost."""
    shown = safe(foreign)
    assert shown.isprintable()
    shown.encode()
    assert shown == "".join(each if each.isprintable() else ascii(each)[1:-1] for each in foreign)


@pytest.mark.parametrize("plain_text", ["", "Zoë O'Neil", "[red]x[/] [/]", ":smile:", "名前 🙂", "C:\\new", "a  b"])
def test_safe_leaves_text_as_it_is(plain_text: str) -> None:
    """Text that can be printed is shown as it stands, brackets, colons and backslashes included."""
    assert safe(plain_text) == plain_text


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann:secret@host/db", "postgresql://ann:***@host/db"),
        ("postgresql:/ann:secret@host/db is not there", "postgresql:/ann:***@host/db is not there"),
        ("x://:se/cr@et@h y://ann@h", "x://:***@h y://ann@h"),
        ("https://x.example:80/a", "https://x.example:80/a"),
    ],
)
def test_safe_tells_no_password(url: str, told: str) -> None:
    """Of a URL with a password all else is shown, also where its slashes were taken for those of a path."""
    assert safe(url) == told


def test_safe_takes_anything() -> None:
    """A path, a number or an error is shown by its text."""
    assert safe(Path("a\x1bb")) == "a\\x1bb"
    assert safe(7) == "7"
    assert safe(ValueError("a\tb")) == "a\\tb"


MARKED = {**HOSTILE, "markup": "[red]x[/] [/] [/a/b] [abc]", "emoji": ":smile: :warning:"}


@pytest.mark.parametrize("foreign", MARKED.values(), ids=MARKED)
@pytest.mark.parametrize("width", [40, 120])
def test_nothing_foreign_is_shown_anywhere(foreign: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a message, a field's, source's or target's name: it is shown as text, in the table, the lines, the summary."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    on = console(stream, "never")
    assert on.width == width
    report = Report.of([Tally("users", (f"d/{foreign}.csv",), f"o/{foreign}.db")])
    live, lines = LiveView(report, on), PlainView(report, on)
    reason = Reason("extra-cell", foreign, f"is {foreign}")
    for event in (
        Opened("users", frozenset({"csv"}), (foreign,), 9),
        rejected("users", 2, reason, source=f"d/{foreign}.csv"),
        Closed("users", "failed", LoaderError(f"{foreign}: cannot be read"), 1.0),
    ):
        report(event)
        live(event)
        lines(event)
    on.print(live.frame())
    on.print(summary(report, on))
    shown = stream.getvalue()
    assert all(line.isprintable() for line in shown.split("\n"))
    if width == 120:
        assert shown.count(safe(foreign)) >= 6


# --- the whole program on a pseudo-terminal --------------------------------------------------------------------------

_OWN = re.compile(rb"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*A|\x1b\[[0-9]*K|\r|\n")
"""What the program itself sends to a terminal: colours, the cursor, and going back to draw again."""


def on_terminal(*arguments: str, columns: int = 120, **env: str) -> tuple[int, bytes]:
    """Run the program on a pseudo-terminal; its exit code, and all bytes that came there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = bytearray()

    def read() -> None:
        try:
            while piece := os.read(ours, 2**16):
                seen.extend(piece)
        except OSError:  # so Linux tells that the other side was closed
            pass

    reader = threading.Thread(target=read)
    try:
        with subprocess.Popen(
            command(*arguments), env=environment(TERM="xterm", **env), stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            reader.start()
            code = process.wait(60)
        reader.join(10)
    finally:
        os.close(ours)
    return code, bytes(seen)


def test_on_a_terminal() -> None:
    """The table is live, gone at the end, and the cursor is back; the summary stays."""
    write("data/users.csv", "id,name,email", *(f"{at},N,u{at}@x.io" for at in range(1, 20_001)))
    code, seen = on_terminal(columns=80)
    assert code == 1
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0
    assert seen.count(b"Rows/s") > 1
    live, _, final = seen.rpartition(b"\x1b[?25h")
    assert b"Rows/s" in live
    assert b"Rows/s" not in final
    assert b"Why rejected" in final
    assert b"20,000" in final
    assert _OWN.sub(b"", seen).decode().isprintable()


def test_nothing_foreign_reaches_a_terminal() -> None:
    """Cells, headers and file names with sequences of their own: the terminal gets the program's own, and no other."""
    evil = "".join(HOSTILE[name] for name in ("colour", "link", "title", "C1", "bidi", "invisible", "delete"))
    name = os.fsdecode(b"u\xff\x1b[31m\xc2\x9b[red]:smile:.csv")
    good = [f"{at},{evil},u{at}@x.io" for at in range(1, 15_001)]
    Path(name).write_text("\n".join(["id,name,email", *good, ""]), encoding="utf-8")
    Path("data/products.csv").write_text(f"id,name,price,{evil}\n1,a,1,x\n".replace("\n\n", "\n"), encoding="utf-8")
    ndjson = '{"id": "%s", "user_id": 1, "product_id": 1, "quantity": 1, "%s": 1}'
    write("orders.ndjson", ndjson % ((evil.encode("unicode_escape").decode().replace("\\x", "\\u00"),) * 2))
    code, seen = on_terminal("--live", "always", f"users={name}", "products", "orders=orders.ndjson")
    assert code == 3
    rest = _OWN.sub(b"", seen).decode()  # all of it is UTF-8
    assert not [each for each in set(rest) if not each.isprintable()]
    assert "\x1b[31mred" not in seen.decode()
    assert "[red]:smile:" in rest
    assert totals(result())["rejected"] >= 15_000


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {}], ids=["dumb", "never"])
def test_a_terminal_that_is_no_screen_gets_lines(env: dict[str, str]) -> None:
    """With TERM=dumb, or --live never, there are lines; a dumb terminal gets no escape sequence."""
    ours, theirs = os.openpty()
    try:
        arguments = [] if env else ["--live", "never"]
        process = subprocess.run(
            command(*arguments),
            env=environment(**{"TERM": "xterm", **env}),
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
        )
        seen = os.read(ours, 2**16)
    finally:
        os.close(theirs)
        os.close(ours)
    assert process.returncode == 1
    assert b"users: loads data/users.csv into users.db" in seen
    assert b"\x1b" not in seen
    assert b"Rows/s" not in seen


def test_no_color_on_a_terminal() -> None:
    """With NO_COLOR a terminal gets a live table without colours."""
    code, seen = on_terminal(NO_COLOR="1")
    assert code == 1
    assert b"\x1b[?25l" in seen
    assert not re.search(rb"\x1b\[[0-9;]*(3|9)[0-7]", seen)


# --- a view that fails -----------------------------------------------------------------------------------------------


def _raise(*_: object) -> RenderableType:
    raise ZeroDivisionError("the view is broken")


@pytest.mark.parametrize("broken", ["LiveView.frame", "LiveView.__call__", "PlainView.__call__", "PlainView._say"])
@pytest.mark.parametrize("live", ["always", "never"])
def test_a_view_that_raises_does_not_disturb(
    broken: str, live: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The load goes on to its end, to the same exit code, and there is a summary."""
    monkeypatch.setattr(f"loader.view.{broken}", _raise)
    assert main(["--live", live]) == 1
    assert stored() == (8, 8, 6)
    assert totals(result()) == {"read": 30, "inserted": 22, "rejected": 8}
    out, err = capsys.readouterr()
    assert "Why rejected" in out
    assert "ZeroDivisionError" not in out + err


def test_a_slow_view_does_not_hold_up_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view is drawn a few times a second, whatever the number of events."""
    frames: list[float] = []
    draw = LiveView.frame

    def frame_and_count(view: LiveView) -> RenderableType:
        frames.append(time.monotonic())
        return draw(view)

    monkeypatch.setattr(LiveView, "frame", frame_and_count)
    write("data/users.csv", "id,name,email", *(f"{at},,u{at}@x.io" for at in range(1, 10_001)))
    main(["-o", "other", "--live", "always"])
    assert 1 <= len(frames) <= 4 + 10 * (frames[-1] - frames[0])


def test_updated_records_are_not_called_inserted() -> None:
    """The live table has a column of their own for records that took the place of others, once there are any."""
    lines = frame(80, [*START, Read("users", 10, 50), Committed("users", 3, 7, 0)])
    assert lines[0].split()[2:5] == ["Read", "Inserted", "Updated"]
    assert cells(lines, "users")[1:5] == ["users", "10", "3", "7"]
