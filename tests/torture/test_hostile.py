"""Hostile data: no text of an enemy's commands a terminal, a database, a file system or a spreadsheet's reader."""

import csv
import io
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import attrs
import pytest
from attrs import define, frozen

import loader
from loader import Dataset, Job
from loader.cli import main
from loader.core.errors import DeclarationError
from loader.datasets import PRODUCTS, USERS
from loader.view import LATEST
from tests.test_cli import environment, left, of, result, settle_in, wait_until, write
from tests.torture import TRIED, some, warm
from tests.torture.ends import of_mutant
from tests.torture.files import rejects_in
from tests.torture.mutants import MUTANTS, importers
from tests.torture.notes import spoken
from tests.torture.strings import ALL, STRINGS, is_text, is_whole
from tests.torture.terminal import Terminal, terminal


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)
    for path in Path("data").iterdir():
        path.unlink()
    monkeypatch.setenv("TERM", "xterm")


STRINGS_TRIED = "hostile strings, each in one of its places"


def escaped(text: str) -> str:
    """How a screen shows text that may hold anything."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


# --- what reaches the databases --------------------------------------------------------------------------------------


def as_csv(cells: Sequence[Sequence[str]], header: Sequence[str] = PRODUCTS.header) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([header, *cells])
    return text.getvalue()


def as_objects(cells: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    return [dict(zip(PRODUCTS.header, row, strict=True)) for row in cells]


def written(form: str, cells: Sequence[Sequence[str]]) -> Any:
    """A source that holds the cells."""
    path = Path(f"data/products.{form}")
    match form:
        case "csv":
            path.write_bytes(as_csv(cells).encode(errors="surrogatepass"))
        case "json":
            path.write_text(json.dumps(as_objects(cells)))
        case "ndjson":
            path.write_text("".join(json.dumps(each) + "\n" for each in as_objects(cells)))
        case _:
            return loader.rows(as_objects(cells))
    return path


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "rows"])
def test_a_cell_is_stored_byte_for_byte_or_rejected(form: str) -> None:
    """Text is stored as it stands, if it holds no control character and no half of one; and nothing else happens."""
    texts = list(filter(is_whole, ALL)) if form == "json" else ALL  # half a pair may cost all of an array
    TRIED[STRINGS_TRIED] += len(texts)
    cells = [(str(at), text, "1") for at, text in enumerate(texts, 1)]
    refused: set[int] = set()

    def observe(event: loader.Event) -> None:
        if isinstance(event, loader.Rejected):
            refused.update(each.place.row or 0 for each in event.rejections)

    loader.run([Job(PRODUCTS, written(form, cells), "products.db")], observe=observe)
    with closing(sqlite3.connect("products.db")) as connection:
        stored = dict(connection.execute("SELECT id, CAST(name AS BLOB) FROM products"))
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE type <> 'index'").fetchone() == (1,)
    assert stored == {at: text.encode() for at, text in enumerate(texts, 1) if is_text(text)}
    assert refused == {at for at, text in enumerate(texts, 1) if not is_text(text)}
    assert left() == {"products.db"}


@pytest.mark.parametrize("form", ["csv", "json", "ndjson"])
def test_rejects_and_result_keep_a_hostile_cell(form: str) -> None:
    """A refused cell comes back from the rejects as it was, and the result is JSON whatever stands there."""
    cells = [(str(at), text, "x") for at, text in enumerate(ALL) if form != "json" or is_whole(text)]
    TRIED[STRINGS_TRIED] += len(cells)
    written(form, cells)
    assert main(["-qq"]) == 1
    rows = rejects_in(Path(f"rejects/products.{form}"))
    assert len(rows) == of(result(), "products")["rejected"] == len(cells)
    for cell, row in zip(cells, rows, strict=True):
        raw = row.get("_raw", "").encode(errors="surrogateescape")
        if raw and form == "csv":
            assert as_csv([cell], []) == "\n" + raw.decode(errors="surrogatepass") + "\n"
        else:
            assert (json.loads(raw) if raw else row)["name"] == cell[1]


@pytest.mark.parametrize("column", ["id", "price", "email"])
def test_a_value_that_is_no_text_is_never_hostile(column: str) -> None:
    """No hostile text is a number or an address, whatever numbers and addresses have in common with it."""
    dataset = USERS if column == "email" else PRODUCTS
    TRIED[STRINGS_TRIED] += len(ALL)
    rows = [{**dict.fromkeys(dataset.header, "1"), "name": f"N{at}", column: text} for at, text in enumerate(ALL)]
    report = loader.run([Job(dataset, loader.rows(rows), "other.db")])
    assert (report.totals.inserted, report.totals.rejected) == (0, len(ALL))


# --- names -----------------------------------------------------------------------------------------------------------


@define
class Thing:
    id: int


@pytest.mark.parametrize("role", ["name", "table", "database"])
def test_a_name_cannot_leave_its_directory_or_its_quotes(role: str) -> None:
    """A dataset, a table or a database is called by a plain name, or it is not declared at all."""
    for text in ALL:
        TRIED[STRINGS_TRIED] += 1
        names: dict[str, Any] = {"name": "x", role: text}
        if text.isascii() and text.isidentifier() and text[0] != "_":
            assert Dataset(model=Thing, key="id", **names)
        else:
            with pytest.raises(DeclarationError):
                Dataset(model=Thing, key="id", **names)


WORDS = ("rowid", "NULL", "select", "order", "table", "values", "index", "group", "users", "main", "CON", "oid")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_sql_is_a_name_like_others(word: str) -> None:
    """Datasets, tables and fields may be called as SQL, SQLite or a system calls its own things."""
    fields = {name: attrs.field(type=str) for name in WORDS if name != word}
    model = attrs.make_class("Model", {word: attrs.field(type=int), **fields})
    dataset = Dataset(name=word, model=model, key=word, unique="table" if word != "table" else "order")
    rows = [{word: at, **dict.fromkeys(fields, f"{at}")} for at in (1, 2, 2)]
    for inserted, unchanged in ((2, 1), (0, 3)):
        report = loader.run([Job(dataset, loader.rows(rows), f"{word}.db")], on_conflict="update")
        assert (report.totals.inserted, report.totals.unchanged) == (inserted, unchanged)


@pytest.mark.parametrize("flags", [[], ["--ignore-extra"]])
def test_a_header_is_only_text(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a column is called, it is left out or refused, and nothing else becomes of it."""
    for text in some([each for each in ALL if each[0] != "_"], 10):
        TRIED[STRINGS_TRIED] += 1
        cells = as_csv([["1", "A", "1", text]], [*PRODUCTS.header, text]).encode(errors="surrogatepass")
        Path("data/products.csv").write_bytes(cells)
        assert main(["-q", *flags]) == (0 if flags and is_whole(text) else 3)
        out, err = capsys.readouterr()
        assert all(map(str.isprintable, (out + err).split("\n")))
        assert left() <= {"products.db", "result.json"}
        for path in ("products.db", "result.json"):
            Path(path).unlink(missing_ok=True)


def test_a_name_on_the_command_line_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no dataset and no file is refused by its name, shown as text, and nothing is made of it."""
    for text in some(ALL, 15):
        for arguments in ([text], [f"users={text}"], ["--data", text], ["--models", text], ["--format", text]):
            if "\0" in text or not is_whole(text):
                continue  # which no operating system hands to a program
            TRIED[STRINGS_TRIED] += 1
            assert main(["--export", "none", *arguments]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert all(map(str.isprintable, err.split("\n")))
            assert left() == set()


def test_what_rejects_say_of_their_source_opens_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The place that a row of a rejects file had at first is told, and not gone to."""
    for form in ("csv", "ndjson"):
        rows = [{"id": "x", "name": "A", "price": "1", "_line": "2", "_source": text} for text in ALL if is_text(text)]
        TRIED[STRINGS_TRIED] += len(rows)
        path = Path(f"data/products.{form}")
        if form == "csv":
            path.write_text(as_csv([list(row.values()) for row in rows], list(rows[0])), newline="")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main([]) == 1
        assert all(map(str.isprintable, "".join(capsys.readouterr()).split("\n")))
        sources = [each["source"] for each in of(result(), "products")["rejections"]]
        assert sources == [row["_source"] for row in rows]
        assert left() == {"products.db", "result.json", "rejects"}
        path.unlink()


# --- what reaches the terminal ---------------------------------------------------------------------------------------


@contextmanager
def on(screen: Terminal, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The standard streams of this process, on a terminal."""
    with open(os.dup(screen.theirs), "w", encoding="utf-8") as stream, patch.context() as streams:
        streams.setattr(sys, "stdout", stream)
        streams.setattr(sys, "stderr", stream)
        yield


def by_member(texts: Sequence[str]) -> list[str]:
    """Each text as the name of a member that no dataset has."""
    write("data/notes.ndjson", *(json.dumps({"id": 1, "note": "", text: 1}) for text in texts))
    return ["--models", "tests.torture.notes", "notes"]


def by_message(texts: Sequence[str]) -> list[str]:
    """Each text as what the validator of a model says."""
    write("data/notes.ndjson", *(json.dumps({"id": 1, "note": spoken(text)}) for text in texts))
    return ["--models", "tests.torture.notes", "notes"]


def by_cell(texts: Sequence[str]) -> list[str]:
    """Each text as a price."""
    written("ndjson", [(str(at), f"N{at}", text) for at, text in enumerate(texts)])
    return ["products"]


def by_cause(texts: Sequence[str]) -> list[str]:
    """Each text as the name of two products, of which an order names the second, that is why it is refused."""
    written("ndjson", [(str(at), text, "1") for at, text in enumerate([*texts, *texts], 1)])
    orders = (f"{at},1,{len(texts) + at},1" for at in range(1, len(texts) + 1))
    write("data/orders.csv", "id,user_id,product_id,quantity", *orders)
    return ["products", "orders"]


def by_header(texts: Sequence[str]) -> list[str]:
    """A text as the name of a column that no dataset has."""
    [text] = texts
    Path("data/products.csv").write_text(as_csv([], [*PRODUCTS.header, text]), newline="")
    return ["products"]


def by_file(texts: Sequence[str]) -> list[str]:
    """Each text as the name of a file with a row that is refused."""
    for text in texts:
        Path(f"{text}.csv").write_text("id,name,email\n0,A,a@x.io\n")
    return [f"users={text}.csv" for text in texts]


def is_file_name(text: str) -> bool:
    return is_whole(text) and not {"/", "\0"} & set(text)


def quoted(text: str) -> str:
    """How a screen shows a text in a message that quotes it."""
    return escaped(repr(text))


@frozen
class Way:
    """A way for texts to a terminal: how they are put there, so many at once, how they are shown, and the exit code."""

    put: Callable[[Sequence[str]], list[str]]
    texts: Sequence[str]
    shown: Callable[[str], str] = escaped
    code: int = 1
    at_once: int = 18


WAYS: dict[str, Way] = {
    "the name of a member": Way(by_member, [text for text in ALL if is_whole(text) and text != "_"]),
    "the message of a model": Way(by_message, ALL),
    "the name of a file": Way(by_file, [text for text in ALL if is_file_name(text)]),
    "a cell": Way(by_cell, [text for text in ALL if is_text(text)], quoted),
    "a cell upstream": Way(by_cause, [text for text in ALL if is_text(text)], quoted, at_once=8),
    "a header": Way(by_header, [text for text in ALL if is_text(text) and text[0] != "_"], quoted, 3, 1),
}


def check_terminal(way: str, texts: Sequence[str], live: str, patch: pytest.MonkeyPatch) -> None:
    TRIED[STRINGS_TRIED] += len(texts)
    for path in Path().glob("*.db"):
        path.unlink()
    with terminal() as screen:
        arguments = WAYS[way].put(texts)
        with on(screen, patch):
            assert main(["--live", live, *arguments]) == WAYS[way].code
    assert not screen.foreign()
    for text in texts:
        assert screen.wraps(WAYS[way].shown(text)), text


@pytest.mark.parametrize("live", ["always", "never"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_foreign_reaches_a_terminal(way: str, live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way a text takes to the terminal, in lines or in the summary, it is shown there, and does nothing."""
    few = WAYS[way].at_once
    texts = some(WAYS[way].texts, 2 * few)
    for at in range(0, len(texts), few):
        check_terminal(way, texts[at : at + few], live, monkeypatch)


def check_rows_that_come(program: Sequence[str], texts: Sequence[str]) -> None:
    """Show texts a few at a time, as names of members, in a live view that has to be looked at meanwhile."""
    arguments = ["--live", "always", "--models", "tests.torture.notes", "--format", "ndjson", "notes=-"]
    reading, writing = os.pipe()
    with terminal() as screen, open(reading) as stdin:
        streams = (stdin, screen.theirs, screen.theirs)
        process = warm.begin(*program, *arguments, env=environment(TERM="xterm"), streams=streams)
        with process, open(writing, "wb") as rows:
            for at in range(0, len(texts), LATEST):
                few = texts[at : at + LATEST]
                rows.write(b"".join(json.dumps({"id": 1, "note": "", text: 1}).encode() + b"\n" for text in few))
                rows.flush()
                wait_until(partial(screen.shows, f"stdin:{at + len(few)}"))
            shown = [screen.shows(escaped(text)) for text in texts]
    TRIED[STRINGS_TRIED] += len(texts)
    assert process.returncode == 1
    assert not screen.foreign()
    assert all(shown)


def test_nothing_foreign_reaches_a_terminal_while_rows_come() -> None:
    """Where rows come slowly, the live view shows whatever is refused, a few at a time, and does nothing else."""
    check_rows_that_come(of_mutant(None), some(WAYS["the name of a member"].texts, 12))


DECLARATIONS = {
    "a dataset": 'Dataset(TEXT, Thing, "id")',
    "a table": 'Dataset("things", Thing, "id", table=TEXT)',
    "a database": 'Dataset("things", Thing, "id", database=TEXT)',
    "a key": 'Dataset("things", Thing, TEXT)',
    "a unique field": 'Dataset("things", Thing, "id", unique=TEXT)',
    "a field in any case": 'Dataset("things", Thing, "id", nocase=TEXT)',
    "what is referred to": 'Dataset("things", Thing, "id", references={"id": TEXT})',
    "a column": 'Dataset("things", Thing, "id", columns={"id": TEXT})',
    "a class": 'Dataset("things", type(TEXT, (), {}), "id")',
    "a class of attrs": 'Dataset("things", make_class(TEXT, {"id": field(type=bytes)}), "id")',
    "a field": 'Dataset("things", make_class("Thing", {TEXT: field(type=int)}), TEXT)',
    "an error": "raise_(TEXT)",
}
"""What declares something that a text is the name of."""


def check_declaration(declaration: str, texts: Sequence[str], patch: pytest.MonkeyPatch) -> None:
    write("data/things.csv", "id", "1")
    TRIED[STRINGS_TRIED] += len(texts)
    for at, text in enumerate(texts):
        write(
            f"models_{at}.py",
            "from attrs import define, field, make_class",
            "from loader import Dataset",
            f"TEXT = {text!a}",
            "def raise_(text): raise ValueError(text)",
            "@define",
            "class Thing:",
            "    id: int",
            f"THINGS = {DECLARATIONS[declaration]}",
        )
    for at, text in enumerate(texts):
        patch.delitem(sys.modules, f"models_{at}", raising=False)
        with terminal() as screen, on(screen, patch):
            code = main(["--into", "db", "--models", f"models_{at}.py"])
        assert not screen.shows("needs another name"), "other models"
        assert code in (0, 2, 3), text
        assert not screen.foreign(), text
        assert not screen.shows("Traceback")
        assert not [path for path in Path().rglob("*.db") if path.parent.name != "db"]


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_nothing_foreign_reaches_a_terminal_from_models(declaration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a model calls its things, it is refused, or a name like others; the terminal is shown plain text."""
    check_declaration(declaration, some([text for text in ALL if "\0" not in text], 10), monkeypatch)


# --- secrets ---------------------------------------------------------------------------------------------------------

SECRET = "s3cret-w0rd"
URLS = [
    f"postgresql://user:{SECRET}@host/db",
    f"postgresql://user:a@b/{SECRET}@host:5432/db?sslmode=require",
    f"postgres://:{SECRET}@host",
    f"https://user:{SECRET}@x.example/users.csv",
    f"mysql+pymysql://user:%40{SECRET}@host/db.csv",
]


def check_password(url: str, patch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    Path("data/users.csv").write_text("id,name,email\n1,A,a@x.io\n0,B,b@x.io\n")
    options = (
        "into",
        "data",
        "rejects",
        "export",
        "models",
        "format",
        "encoding",
        "max-rejects",
        "jobs",
        "live",
        "color",
    )
    for given in (*([f"--{name}", url] for name in options), [url], [f"users={url}"], [f"--{url}"], ["--init", url]):
        for verbose in ([], ["-v"]):
            with suppress(SystemExit):
                main([*verbose, *given])
            assert SECRET not in "".join(capfd.readouterr()), given
    for name in options:
        with patch.context() as variables:
            variables.setenv(f"LOADER_{name.upper().replace('-', '_')}", url)
            main([])
        write("pyproject.toml", "[tool.loader]", f'{name} = "{url}"')
        main([])
        Path("pyproject.toml").unlink()
        assert SECRET not in "".join(capfd.readouterr()), name
    for path in Path().rglob("*.json"):
        assert SECRET not in path.read_text()


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_never_told(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Wherever a URL is given, taken or refused, its password is in no output, no result and no error."""
    check_password(url, monkeypatch, capfd)


# --- teeth -----------------------------------------------------------------------------------------------------------


def broken(name: str, patch: pytest.MonkeyPatch) -> None:
    """Break one thing in this process, until the patch is undone."""
    path = MUTANTS[name].function
    function: Any = resolve_name(path)
    patch.setattr(path.replace(":", "."), function)
    name_there = path.rpartition(":")[2]
    for module in importers(name_there, function):
        patch.setattr(module, name_there, function)
    MUTANTS[name].apply()


@pytest.mark.parametrize("name", ["cells as markup, in lines", "cells unescaped"])
def test_a_view_that_trusts_cells_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With cells taken for markup, or shown as they are, the check of the terminal fails, for each way to it."""
    for way in ("the name of a member", "the message of a model", "the name of a file"):
        with monkeypatch.context() as patch:
            broken(name, patch)
            texts = [each for each in STRINGS["markup"] if is_file_name(each)] if "markup" in name else ["\x1b[2J"]
            with pytest.raises(AssertionError):
                check_terminal(way, some(texts, 9), "never", patch)


def test_a_command_that_trusts_models_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """With messages shown as they are, the check of what models declare fails."""
    broken("cells unescaped", monkeypatch)
    with pytest.raises(AssertionError):
        check_declaration("an error", ["\x1b[2J"], monkeypatch)


def test_a_live_view_that_trusts_cells_is_caught() -> None:
    """With cells taken for markup in the live table, the check of it fails."""
    with pytest.raises(AssertionError):
        check_rows_that_come(of_mutant("cells as markup, live"), STRINGS["emoji codes"])


def test_a_view_that_tells_passwords_is_caught(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the mask of passwords the check for them fails."""
    broken("passwords told", monkeypatch)
    with pytest.raises(AssertionError):
        check_password(URLS[0], monkeypatch, capfd)
