"""The same records in any format, compression and encoding, from files, pipes and stdin: the same ends."""

import csv
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from loader.cli import main
from loader.settings import OPTIONS
from loader.sources import FORMATS
from loader.sources.packings import PACKINGS
from tests.sources import packed
from tests.test_cli import (
    NAMES,
    command,
    environment,
    exit_code,
    left,
    of,
    program,
    refused,
    result,
    rows,
    settle_in,
    started,
    stored,
    totals,
    wait_until,
    write,
)

ROWS: dict[str, list[tuple[str, ...]]] = {
    "users": [
        ("id", "name", "email"),
        ("1", "Zoé", "zoe@example.com"),
        ("2", 'a "b", c; d\te|f', "b@example.com"),
        ("3", "two\nlines\r\nand three", "c@example.com"),
        ("4", "Ann", "ZOE@example.com"),
        ("five", "", "nobody"),
        ("2", "é", "e@example.com"),
        ("8", "Last", "last@example.com"),
    ],
    "products": [
        ("id", "name", "price"),
        ("1", "Käse, 1 \xbd kg", "19.99"),
        ("2", "Käse, 1 \xbd kg", "5.00"),
        ("3", "Brot", "1e3"),
        ("4", "  ", "-1"),
    ],
    "orders": [
        ("id", "user_id", "product_id", "quantity"),
        ("1", "1", "1", "2"),
        ("2", "4", "1", "2"),
        ("3", "8", "2", "0"),
        ("4", "9", "3", "1"),
        ("5", "3", "1", "1"),
    ],
}


@frozen
class Form:
    """A way to write records to a file, and the flags with which they are read."""

    format: str
    packing: str = ""
    delimiter: str = ","
    encoding: str = "utf-8"
    flags: tuple[str, ...] = ()

    @property
    def ending(self) -> str:
        return f"{self.format}{self.packing}"

    def text(self, table: Sequence[Sequence[str]]) -> bytes:
        """What stands in a file of this form that holds a header and rows."""
        objects = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
        if self.format in ("csv", "tsv"):
            out = io.StringIO(newline="")
            csv.writer(out, delimiter=self.delimiter, lineterminator="\r\n").writerows(table)
            text = out.getvalue()
        elif self.format == "json":
            text = json.dumps(objects, ensure_ascii=False)
        else:
            text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)
        return packed(text.encode(self.encoding), self.packing)

    def write(self, directory: str = "data") -> None:
        shutil.rmtree(directory)
        Path(directory).mkdir()
        for name in NAMES:
            Path(directory, f"{name}.{self.ending}").write_bytes(self.text(ROWS[name]))


PLAIN = Form("csv")
BASES = [
    PLAIN,
    Form("csv", delimiter=";", flags=("--delimiter", ";")),
    Form("csv", delimiter="\t", flags=("--delimiter", "tab")),
    Form("csv", delimiter="|", encoding="cp1252", flags=("--delimiter", "|", "--encoding", "cp1252")),
    Form("tsv", delimiter="\t"),
    Form("json"),
    Form("ndjson"),
    Form("jsonl"),
    Form("csv", encoding="latin-1", flags=("--encoding", "latin-1")),
    Form("csv", encoding="utf-16", flags=("--encoding", "utf-16")),
    Form("ndjson", encoding="utf-16-be", flags=("--encoding", "utf-16-be")),
    Form("json", encoding="latin-1", flags=("--encoding", "latin-1")),
    Form("csv", encoding="utf-8-sig"),
    Form("csv", encoding="utf-8-sig", flags=("--encoding", "latin-1")),
]
FORMS = [
    Form(base.format, packing, base.delimiter, base.encoding, base.flags)
    for base in BASES
    for packing in ("", *PACKINGS)
]


def called(form: Form) -> str:
    return " ".join([form.ending, form.encoding, *form.flags])


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def told() -> dict[str, Any]:
    """What a run did: the rows of the databases, the counts, and the rejections without the names of the files."""

    def placeless(text: str) -> str:
        return re.sub(r"(data/\w+\.\w+(\.\w+)?|stdin)[:#]\d+", "(place)", text)

    document = result()
    return {
        "rows": {name: rows(name) for name in NAMES},
        "counts": [{end: each[end] for end in document["totals"]} for each in document["datasets"]],
        "reasons": [each["reasons"] for each in document["datasets"]],
        "rejections": [
            (
                each["row"],
                each["values"],
                [(reason["code"], reason["field"], placeless(reason["message"])) for reason in each["reasons"]],
            )
            for dataset in document["datasets"]
            for each in dataset["rejections"]
        ],
    }


@pytest.fixture
def expected(_place: None) -> dict[str, Any]:
    """What is told of the plain CSV files."""
    PLAIN.write()
    assert main(["-qq"]) == 1
    found = told()
    assert totals(result()) == {"read": 16, "inserted": 7, "rejected": 9}
    for path in Path().glob("*.db*"):
        path.unlink()
    shutil.rmtree("rejects")
    return found


@pytest.mark.parametrize("form", FORMS, ids=called)
def test_the_same_records_have_the_same_ends(form: Form, expected: dict[str, Any]) -> None:
    """In any form records give the same databases, verdicts and messages; fed back, the rejects stay as they are."""
    form.write()
    assert main(["-qq", *form.flags]) == 1
    assert told() == expected
    assert {each["source"] for each in of(result(), "users")["rejections"]} == {f"data/users.{form.ending}"}

    assert left("rejects") == {f"{name}.{form.format}" for name in NAMES}
    rejects = {path: path.read_bytes() for path in Path("rejects").iterdir()}
    marked = "--encoding" in form.flags
    assert {text.startswith(b"\xef\xbb\xbf") for text in rejects.values()} == {marked}
    first = [refused(result(), name) for name in NAMES]
    assert main(["-qq", "--data", "rejects", *form.flags]) == 1
    assert [refused(result(), name) for name in NAMES] == first
    assert {path: path.read_bytes() for path in Path("rejects").iterdir()} == rejects


@pytest.mark.parametrize("form", [form for form in FORMS if not form.packing], ids=called)
def test_the_same_records_on_stdin_have_the_same_ends(form: Form, expected: dict[str, Any]) -> None:
    """So they do when the users come on stdin; what is rejected of them is told by its line there."""
    form.write()
    arguments = ["-qq", "users=-", "products", "orders", "--format", form.format, *form.flags]
    done = program(*arguments, stdin=None, input=form.text(ROWS["users"]))
    assert (done.returncode, done.stderr) == (1, b"")
    assert told() == expected
    places = [(each["source"], each["line"], each["row"]) for each in of(result(), "users")["rejections"]]
    lines = {"csv": (7, 8, 9), "tsv": (7, 8, 9), "json": (None,) * 3}.get(form.format, (4, 5, 6))
    assert places == [("stdin", line, row) for row, line in enumerate(lines, 4)]
    assert left("rejects") == {f"{name}.{form.format}" for name in NAMES}


def test_every_form_is_looked_at_here() -> None:
    """No format of text, and none that can be asked for, is without a test."""
    [choices] = [option.metavar for option in OPTIONS if option.name == "format"]
    assert choices
    assert {*(form.format for form in FORMS), "parquet"} == set(choices.split("|")) == set(FORMATS)


# --- pipes -----------------------------------------------------------------------------------------------------------


def loaded() -> int:
    """How many users are stored by now."""
    with suppress(sqlite3.OperationalError):
        return len(rows("users"))
    return 0  # there is no database yet, or no table in it


@pytest.mark.parametrize("form", ["csv", "tsv", "ndjson", "jsonl"])
def test_rows_are_loaded_while_the_pipe_is_open(form: str) -> None:
    """What has come through a pipe is stored, though its writer has more to say, and Ctrl-C ends the wait in order."""
    delimiter = "\t" if form == "tsv" else ","
    text = Form(form, delimiter=delimiter).text([("id", "name", "email"), ("1", "A", "a@x.io"), ("0", "B", "b@x.io")])
    with started("users=-", "--format", form, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(text)
        process.stdin.flush()
        wait_until(lambda: loaded() == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(1) == 130
        process.stdin.close()
    document = result()
    assert document["run"]["status"] == "interrupted"
    assert totals(document) == {"read": 2, "inserted": 1, "rejected": 1}
    [rejection] = of(document, "users")["rejections"]
    assert (rejection["source"], rejection["row"]) == ("stdin", 2)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_silent_pipe_can_be_interrupted(form: str) -> None:
    """Ctrl-C ends the wait for a first byte, and for the end of what is read whole beforehand."""
    os.mkfifo("pipe")
    with started("users=-", "products=pipe", "--format", form, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"[" if form == "json" else b"id")
        process.stdin.flush()
        wait_until(lambda: signal_is_heeded(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(1) == 130
        process.stdin.close()
    assert totals(result()) == {}
    assert not list(Path().glob("*.db"))


def signal_is_heeded(pid: int) -> bool:
    """Whether a load is on its way: a process that waits for a pipe has a thread to do so."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 2


def test_an_array_that_is_not_sound_is_refused_from_a_pipe_too() -> None:
    """A JSON array is proved sound before a row of it is stored, also where it can be read only once."""
    done = program("users=-", "--format", "json", stdin=None, input=b'[{"id":1,"name":"A","email":"a@x.io"},')
    assert done.returncode == 3
    assert b"loader: stdin is not a well-formed JSON array" in done.stderr
    assert left() == {"result.json"}


def test_a_process_can_stand_in_for_a_file() -> None:
    """A shell's <(...) is a file without an ending: the format is the one that is asked for."""
    shell = " ".join(command("-qq", "users=<(cat data/users.csv)", "products=<(gzip -c data/products.csv)"))
    assert subprocess.run(["bash", "-c", f"{shell} --format csv"], env=environment(), check=False).returncode == 3
    assert rows("users")[0] == (1, "Alice", "alice@example.com")
    [problem] = result()["problems"]
    assert "is compressed by gzip" in problem["detail"]


def test_a_file_of_an_unknown_name_is_read_as_asked_for() -> None:
    """--format says how a file is read whose ending says nothing, compressed or not; a known ending says more."""
    shutil.move("data/users.csv", "export.dat")
    Path("export.out.gz").write_bytes(packed(Path("data/products.csv").read_bytes(), ".gz"))
    assert main(["-qq", "users=export.dat", "products=export.out.gz", "orders", "--format", "csv"]) == 1
    assert stored() == (8, 8, 6)
    write("users.ndjson", '{"id": 11, "name": "N", "email": "n@x.io"}')
    assert main(["-qq", "users=users.ndjson", "--format", "csv"]) == 0


def test_stdin_that_is_closed_is_a_usage_error() -> None:
    """Where there is no stdin, none is read: not another file that happens to have its number."""
    shell = " ".join(command("users=-", "--format", "csv", "<&-"))
    done = subprocess.run(["bash", "-c", shell], env=environment(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"loader: stdin is closed\n")
    assert left() == set()


def test_stdin_that_does_not_wait_is_waited_for() -> None:
    """A pipe that another program left in non-blocking mode is read to its end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with subprocess.Popen(command("-qq", "users=-", "--format", "csv"), env=environment(), stdin=reading) as process:
        os.write(writing, b"id,name,email\n1,A,a@x.io\n")
        wait_until(lambda: loaded() == 1)
        os.write(writing, b"2,B,b@x.io\n")
        os.close(writing)
        assert process.wait(20) == 0
    os.close(reading)
    assert len(rows("users")) == 2


def test_rejects_on_stdin_are_kept_until_they_are_loaded() -> None:
    """A rejects file that is redirected to stdin is one that is fed back: a check leaves it as it is."""
    main(["-qq"])
    rejects = Path("rejects/users.csv").read_bytes()
    with Path("rejects/users.csv").open("rb") as file:
        assert program("-qq", "users=-", "--format", "csv", "--max-rejects", "0", stdin=file).returncode == 3
    assert Path("rejects/users.csv").read_bytes() == rejects


@pytest.mark.parametrize("live", ["always", "never"])
def test_the_view_copes_with_an_unknown_size(live: str) -> None:
    """A pipe has no size, and the view shows counts and no more: no share of it, and no time that is left."""
    done = program("users=-", "--format", "csv", "--live", live, stdin=None, input=Path("data/users.csv").read_bytes())
    assert done.returncode == 1
    assert b"10 read" in done.stderr or b"10" in done.stdout
    assert b"loads stdin into users.db" in done.stderr or live == "always"


# --- several files ---------------------------------------------------------------------------------------------------


def test_a_pattern_stands_for_its_files_in_order() -> None:
    """The files that match are read sorted, beside others that are named; each row is told by its own file."""
    for at in (2, 1, 3):
        write(f"parts/{at}.csv", "id,name,email", f"{at},A,{at}@x.io", "9,Nine,9@x.io")
    assert main(["-qq", "users=data/users.csv", "users=parts/*.csv", "--into", "a"]) == 1
    places = [each["source"] for each in of(result(), "users")["rejections"]]
    assert places == [*["data/users.csv"] * 2, *(f"parts/{at}.csv" for at in (1, 1, 2, 2, 3, 3))]
    assert of(result(), "users")["sources"] == ["data/users.csv", *(f"parts/{at}.csv" for at in (1, 2, 3))]
    assert main(["-qq", "users=**/[13].csv", "--into", "b"]) == 0
    assert [key for key, *_ in rows("users", "b")] == [1, 3, 9]


def test_a_file_that_is_called_like_a_pattern_is_meant_itself() -> None:
    """Brackets and stars may stand in a name."""
    write("[ab].csv", "id,name,email", "1,A,a@x.io")
    write("a.csv", "id,name,email", "2,B,b@x.io")
    assert main(["-qq", "users=[ab].csv"]) == 0
    assert [key for key, *_ in rows("users")] == [1]


def test_files_of_a_dataset_may_be_of_different_formats() -> None:
    """They are read in the order given; what is rejected is written as NDJSON, which can hold it all, and fed back."""
    write("a.csv", "id,name,email", "1,A,a@x.io", "2,short")
    write(
        "b.ndjson", '{"id": 3, "name": "C", "email": "c@x.io"}', '{"id": 4, "name": ["D"], "email": "d@x.io", "x": 1}'
    )
    write("c.json", '[{"id": 1, "name": "E", "email": "e@x.io"}, {"id": 5, "name": "F", "email": "f@x.io"}]')
    assert main(["-qq", "users=a.csv", "users=b.ndjson", "users=c.json"]) == 1
    assert [key for key, *_ in rows("users")] == [1, 3, 5]
    assert left("rejects") == {"users.ndjson"}
    rejects, first = Path("rejects/users.ndjson").read_bytes(), of(result(), "users")["rejections"]
    assert [(each["source"], each["row"]) for each in first] == [("a.csv", 2), ("b.ndjson", 2), ("c.json", 1)]
    assert main(["-qq", "--data", "rejects"]) == 1
    assert of(result(), "users")["rejected"] == 3
    assert Path("rejects/users.ndjson").read_bytes().count(b"\n") == rejects.count(b"\n") == 3


# --- delimiters and encodings ----------------------------------------------------------------------------------------


def test_a_row_that_cannot_be_decoded_keeps_its_bytes_through_rounds() -> None:
    """It is told with the byte, fed back for the same reason under the same flags or none, and loads once mended."""
    Path("data/users.csv").write_bytes(b"id;name;email\n1;\xc3\xa9;a@x.io\n2;B;b@x.io\n3;\xff,C\n")
    flags = ["-qq", "users", "--delimiter", ";", "--encoding", "ascii"]
    assert main(flags) == 1
    first, rejects = refused(result(), "users"), Path("rejects/users.csv").read_bytes()
    assert [(line, reasons[0][2]) for line, reasons in first] == [
        (2, "cannot be decoded: it holds the byte 0xC3 (see --encoding)"),
        (4, "cannot be decoded: it holds the byte 0xFF (see --encoding)"),
    ]
    assert rows("users") == [(2, "B", "b@x.io")]
    assert rejects.splitlines()[0] == b"\xef\xbb\xbfid;name;email;_line;_source;_reasons;_raw"
    for _ in range(2):
        assert main([*flags, "--data", "rejects"]) == 1
        assert refused(result(), "users") == first
        assert Path("rejects/users.csv").read_bytes() == rejects
    lines = rejects.replace(b"\xef\xbb\xbf", b"").splitlines()
    Path("rejects/users.csv").write_bytes(b"\n".join([lines[0], "1;é;a@x.io;2;data/users.csv;;".encode()]))
    assert exit_code("-qq", "users", "--delimiter", ";", "--data", "rejects") == 0
    assert rows("users")[0] == (1, "é", "a@x.io")


def test_rejects_are_known_as_such_whatever_divides_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Rejects that an earlier run wrote with another delimiter are replaced, and not taken for a file of others."""
    for delimiter in (";", " ", "|", ",", "\x1f"):
        PLAIN.write()
        Path("data/users.csv").write_bytes(Form("csv", delimiter=delimiter).text(ROWS["users"]))
        assert main(["-qq", "users", "--delimiter", delimiter]) == 1, capsys.readouterr().err


def test_the_next_command_has_delimiter_and_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    """What is to be typed next reads the rejects as they were written."""
    form = Form("csv", delimiter="\t", encoding="latin-1", flags=("--delimiter", "\t", "--encoding", "latin-1"))
    form.write()
    assert main(["-q", *form.flags]) == 1
    assert r"python -m loader --delimiter '\t' --encoding latin-1 --data rejects" in capsys.readouterr().out
    assert main(["-qq", "--delimiter", r"\t", "--encoding", "latin-1", "--data", "rejects"]) == 1
    assert totals(result())["rejected"] == 9


def test_a_utf16_file_says_how_it_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --encoding a file in UTF-16 is refused, and the message names the way out."""
    Form("csv", encoding="utf-16").write()
    assert main(["-qq", "users"]) == 3
    assert "data/users.csv is UTF-16: save it as UTF-8, or say --encoding utf-16" in capsys.readouterr().err


def test_without_the_library_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A .zst that cannot be read ends the command line with 2, before anything is done, and says what to install."""
    Form("csv", ".zst").write()
    for name in ("backports", "backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    for arguments in ([], ["users"], ["users=data/users.csv.zst"]):
        assert main(["-qq", *arguments]) == 2
        assert "pip install 'crossload[zst]'" in capsys.readouterr().err
    assert left() == set()
