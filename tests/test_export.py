"""The result and the rejected rows: whole, true, and fit to be mended and loaded again."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

import loader
from loader import cli
from loader.cli import main
from loader.core.errors import OutputError
from loader.core.events import Committed, Event
from loader.datasets import USERS
from loader.disk import lock
from loader.export import RejectsWriter, WholeFile, write_result
from tests.test_cli import (
    NAMES,
    REFUSED,
    ROOT,
    command,
    environment,
    left,
    of,
    refused,
    result,
    rows,
    settle_in,
    stored,
    timeless,
    totals,
    write,
)

FORMATS = ("csv", "json", "ndjson")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes as soon as a batch of users is committed."""
    tell = cli._Command._tell

    def tell_and_interrupt(self: cli._Command, event: Event) -> None:
        tell(self, event)
        if isinstance(event, Committed) and event.dataset == "users":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cli._Command, "_tell", tell_and_interrupt)


def in_format(form: str) -> None:
    """Write the sample in another format, each value as text."""
    for name in NAMES:
        with Path(f"data/{name}.csv").open(newline="", encoding="utf-8") as file:
            objects = list(csv.DictReader(file))
        if form != "csv":
            Path(f"data/{name}.csv").unlink()
            write(f"data/{name}.{form}", *([json.dumps(objects)] if form == "json" else map(json.dumps, objects)))


def members(path: str) -> list[dict[str, Any]]:
    """The rows of a rejects file, without its blank cells."""
    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    if path.endswith(".csv"):
        with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    if path.endswith(".ndjson"):
        return [json.loads(line) for line in text.splitlines()]
    found = json.loads(text)
    assert isinstance(found, list)
    return found


def contents(directory: str = "rejects") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


# --- the result ------------------------------------------------------------------------------------------------------


SCHEMA = json.loads((ROOT / "loader/result.schema.json").read_bytes())


def of_right_form(document: dict[str, Any]) -> dict[str, Any]:
    """The document, which is of the form that the schema describes."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def valid(document: dict[str, Any]) -> dict[str, Any]:
    """The document, which is of the right form, and whose sums are right."""
    of_right_form(document)
    for counts in (document["totals"], *document["datasets"]):
        assert counts["read"] == sum(counts[e] for e in ("inserted", "updated", "unchanged", "rejected", "untried"))
    for name, total in document["totals"].items():
        assert total == sum(each[name] for each in document["datasets"])
    for each in document["datasets"]:
        assert each["rejected"] == len(each["rejections"]) + each["rejections_omitted"]
        assert list(each["reasons"]) == sorted(each["reasons"])
    return document


def _clean() -> None:
    write("data/users.csv", "id,name,email", "1,A,a@x.io")
    for name in ("products", "orders"):
        Path(f"data/{name}.csv").unlink()


def _failed() -> None:
    write("data/users.csv", "nothing of the kind")


def _undecodable() -> None:
    Path("data/users.csv").write_bytes(b"id,name,email\n1,\xff,a@x.io\n2,\xc3\xa9,b@x.io\n")


def _many_faults() -> None:
    write("data/users.csv", "id,name,email", 'x"y', "1", "1,a,b,c", "x,y,z", "1,A,a@x.io", "1,B,a@x.io", "0,\x07,")
    Path("data/products.csv").unlink()
    write("data/products.ndjson", "{", "3", '{"id":1,"name":null,"price":1e400,"colour":["red"]}', '{"id":1e5}')


KINDS: dict[str, tuple[Callable[[], object], int, str]] = {
    "clean": (_clean, 0, "complete"),
    "rejects": (lambda: None, 1, "rejects"),
    "failed and stopped": (_failed, 3, "failed"),
    "undecodable": (_undecodable, 1, "rejects"),
    "json": (lambda: in_format("json"), 1, "rejects"),
    "ndjson": (lambda: in_format("ndjson"), 1, "rejects"),
    "many faults": (_many_faults, 1, "rejects"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flags", [[], ["--check"], ["--rejects", "none"], ["--on-conflict", "update"]], ids=str)
def test_the_result_of_any_run_is_as_the_schema_says(kind: str, flags: list[str]) -> None:
    """Whatever happened the result is of one form, its sums are right, and it tells the exit code of the run."""
    prepare, code, status = KINDS[kind]
    prepare()
    assert main(["-qq", *flags]) == code
    document = valid(result())
    assert (document["run"]["status"], document["run"]["exit_code"]) == (status, code)
    assert (document["run"]["check"], document["run"]["atomic"]) == (flags == ["--check"], False)
    for each in document["datasets"]:
        there = Path("rejects", f"{each['name']}.{each['sources'][0].rpartition('.')[2]}")
        assert each["rejects"] == (str(there) if each["rejected"] and flags != ["--rejects", "none"] else None)
        assert there.exists() == (each["rejects"] is not None)


@pytest.mark.usefixtures("interrupted")
def test_the_result_of_an_interrupted_run() -> None:
    """An interrupted run has a result of the same form; what was read and not judged is untried."""
    assert main(["-qq"]) == 130
    document = valid(result())
    assert (document["run"]["status"], document["run"]["exit_code"]) == ("interrupted", 130)
    assert of(document, "orders")["status"] == "interrupted"
    assert tuple(each["inserted"] for each in document["datasets"]) == stored()


def test_the_schema_refuses_what_is_not_a_result() -> None:
    """The schema can fail: a member too many, one too few, or a wrong status is refused."""
    main(["-qq"])
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda document: document.update(extra=1),
        lambda document: document.pop("totals"),
        lambda document: document["run"].update(status="fine"),
        lambda document: document["datasets"][0]["rejections"][0].update(line=0),
    ]
    for change in changes:
        document = result()
        change(document)
        with pytest.raises(jsonschema.ValidationError):
            valid(document)


def test_the_schema_ships_with_the_package() -> None:
    """Whoever has the package has the schema."""
    from importlib.resources import files

    assert json.loads((files("loader") / "result.schema.json").read_text(encoding="utf-8"))["title"]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_input_gives_the_same_bytes(form: str) -> None:
    """Apart from times, result and rejects of two runs on the same files are the same, byte for byte."""
    in_format(form)
    texts = []
    for directory in ("one", "two"):
        shutil.copytree("data", f"{directory}/data")
        os.chdir(directory)
        main(["-qq"])
        text = Path("result.json").read_text(encoding="utf-8")
        times = re.compile(r'"(seconds|started)": ("[^"]*"|[0-9.e-]+)')
        texts.append((times.sub(r'"\1": 0', text), contents()))
        assert len(times.findall(text)) == 5
        os.chdir("..")
    assert texts[0] == texts[1]


def test_cells_are_told_as_they_stood() -> None:
    """`values` has the cells as they stood in the file, typed where it is JSON; what is no UTF-8 is shown escaped."""
    Path("data/users.csv").write_bytes(b"name,id,email\n\xff,1,a@x.io\n\xc3\xa9, 7 ,b@x.io\n")
    write("p.ndjson", '{"price": 1.50, "id": 0, "name": null}', '{"price": 12345678901234567890.10, "id": 2}')
    main(["-qq", "users", "products=p.ndjson"])
    document = valid(result())
    values = [each["values"] for name in ("users", "products") for each in of(document, name)["rejections"]]
    assert values == [
        {"name": "\\udcff", "id": "1", "email": "a@x.io", "_raw": "\\udcff,1,a@x.io"},
        {"name": "é", "id": " 7 ", "email": "b@x.io"},
        {"price": 1.5, "id": 0, "name": None},
        {"price": 12345678901234567890.10, "id": 2},
    ]
    text = Path("result.json").read_text(encoding="utf-8")
    assert '"price": 1.50,' in text
    assert '"price": 12345678901234567890.10,' in text


def test_numbers_have_the_digits_that_stood_there() -> None:
    """In the result, as in the rejects, a number of JSON is one, written as it was."""
    write("prices.ndjson", '{"id": 1, "name": "", "price": 12.50}')
    assert main(["products=prices.ndjson"]) == 1
    assert re.search(r'"price": 12\.50\s', Path("result.json").read_text(encoding="utf-8"))
    assert '"price":12.50,' in Path("rejects/products.ndjson").read_text(encoding="utf-8")


def test_a_key_may_be_of_several_fields_or_any_number() -> None:
    """Whoever holds what a row claims is named by its key, whatever that is made of, and so is a cause."""
    write(
        "keys.py",
        "from decimal import Decimal",
        "from attrs import define",
        "from loader import Dataset",
        "@define",
        "class Line:",
        "    order: int",
        "    number: Decimal",
        "    item: str",
        "@define",
        "class Note:",
        "    id: int",
        "    order: int",
        "    number: Decimal",
        'LINES = Dataset("lines", Line, ("order", "number"), unique="item")',
        'NOTES = Dataset("notes", Note, "id", references={("order", "number"): "lines"})',
    )
    write("data/lines.csv", "order,number,item", "1,1.5,a", "1,1.5,b", "2,1.5,a")
    write("data/notes.csv", "id,order,number", "1,2,1.5")
    assert main(["-qq", "--models", "keys.py"]) == 1
    lines, notes = (of(valid(result()), name)["rejections"] for name in ("lines", "notes"))
    assert [each["reasons"][0]["holder"] for each in lines] == [[1, 1.5], [1, 1.5]]
    assert notes[0]["reasons"][0]["cause"]["key"] == [2, 1.5]


# --- whole or not at all ---------------------------------------------------------------------------------------------


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["os.fsync", "Path.replace"])
def test_an_old_file_stays_when_writing_fails(
    step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk the old result and the old rejects are there, whole, and no temporary file beside them."""
    main(["-qq"])
    before, rejects = Path("result.json").read_bytes(), contents()
    write("data/users.csv", "id,name,email", "0,N,n@x.io")
    with monkeypatch.context() as patch:
        patch.setattr(f"loader.export.{step}", _full)
        assert main(["-qq"]) == 3
    err = capsys.readouterr().err
    assert "loader: result.json cannot be written: No space left on device" in err
    assert "loader: rejects/users.csv cannot be written: No space left on device" in err
    assert Path("result.json").read_bytes() == before
    assert contents() == rejects
    assert left() == {"users.db", "products.db", "orders.db", "result.json", "rejects"}


def test_a_first_file_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there was no file before there is none after a failure."""
    monkeypatch.setattr("loader.export.os.fsync", _full)
    with pytest.raises(OutputError, match=r"^result.json cannot be written: No space left on device$"):
        write_result(Path("result.json"), b"{}")
    assert left() == set()


def test_what_a_killed_load_has_left_is_swept_away(capsys: pytest.CaptureFixture[str]) -> None:
    """The next load removes it, beside the result and among the rejects; a file that has another name stays."""
    Path("rejects").mkdir()
    for path in ("result.json", "rejects/users.csv"):
        WholeFile(Path(path)).file.close()
    write(".notes.loader", "mine")
    assert len(list(Path().rglob(".*.loader"))) == 3
    assert main(["-qq"]) == 1
    assert [str(path) for path in Path().rglob(".*")] == [".notes.loader"]


def test_what_another_load_is_writing_is_not_swept_away() -> None:
    """Its file is locked until it is in its place."""
    other = WholeFile(Path("result.json"))
    other.file.write(b"of another")
    write_result(Path("result.json"), b"{}")
    other.complete()
    assert Path("result.json").read_bytes() == b"of another"
    assert left() == {"result.json"}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that renames and removes no open file, and opens no directory."""

    def refusing_open_files(call: Callable[..., Path | None]) -> Callable[..., Path | None]:
        def refuse(path: Path, *others: Path) -> Path | None:
            is_open = {os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()}
            if not is_open.isdisjoint(map(os.path.realpath, (path, *others))):
                raise PermissionError(errno.EACCES, "it is open")
            return call(path, *others)

        return refuse

    def refusing_directories(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, f"{path} is a directory")

    monkeypatch.setattr("loader.disk.sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr("loader.disk.os", SimpleNamespace(open=refusing_directories))
    monkeypatch.delattr(os, "fchmod")
    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, refusing_open_files(getattr(Path, name)))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no telling here which files are open")
@pytest.mark.usefixtures("windows")
def test_windows_has_its_ways_with_open_files() -> None:
    """A file is in its place when it is closed; one that is open, or was so until just now, is not swept away."""
    write_result(Path("result.json"), b"old")
    killed, ending, other = (WholeFile(Path("result.json")) for _ in range(3))
    for file in (killed, ending):
        file.file.close()
    os.utime(killed._temporary, (0, 0))
    os.utime(other._temporary, (0, 0))
    write_result(Path("result.json"), b"new")
    assert Path("result.json").read_bytes() == b"new"
    assert left() == {"result.json", ending._temporary.name, other._temporary.name}
    other.complete()
    assert left() == {"result.json", ending._temporary.name}


def test_a_file_that_is_swept_away_before_it_is_locked_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its making and its lock another load may take it for one that was left behind."""
    swept: list[Path] = []

    def late(file: int, wait: bool) -> None:
        if not swept:
            swept.extend(Path().glob(".result.json.*"))
            swept[0].unlink()
        lock(file, wait)

    monkeypatch.setattr("loader.export.lock", late)
    write_result(Path("result.json"), b"{}")
    assert swept
    assert Path("result.json").read_bytes() == b"{}"
    assert not list(Path().glob(".*"))


def test_a_temporary_file_that_cannot_be_removed_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses even that, the file that could not be written is what is told."""
    monkeypatch.setattr("loader.export.os.fsync", _full)
    monkeypatch.setattr("loader.export.Path.unlink", _full)
    with pytest.raises(OutputError, match=r"^result.json cannot be written: No space left on device$"):
        write_result(Path("result.json"), b"{}")


def test_mode_and_link_of_a_file_are_kept() -> None:
    """A file that is replaced passes on its mode, and a symbolic link stays one."""
    main(["-qq"])
    for path in (Path("result.json"), Path("rejects/users.csv")):
        real = Path("elsewhere", path.name)
        real.parent.mkdir(exist_ok=True)
        path.rename(real)
        real.chmod(0o604)
        path.symlink_to(real.absolute())
        old = real.stat().st_ino
        main(["-qq", "--on-conflict", "update"])
        assert path.is_symlink()
        assert stat.S_IMODE(real.stat().st_mode) == 0o604
        assert real.stat().st_ino != old
    assert left("elsewhere") == {"result.json", "users.csv"}


def test_a_new_file_has_the_mode_that_the_user_wants() -> None:
    """A file that was not there is made as any other program would make it."""
    mask = os.umask(0o026)
    try:
        main(["-qq"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(Path("result.json").stat().st_mode) == 0o640
    assert stat.S_IMODE(Path("rejects/users.csv").stat().st_mode) == 0o640


def test_what_is_not_a_file_is_never_replaced_by_one() -> None:
    """A result sent to a pipe (or a device, as /dev/null) leaves it what it is."""
    os.mkfifo("pipe")
    pipe = os.open("pipe", os.O_RDWR | os.O_NONBLOCK)
    try:
        main(["-qq", "--export", "pipe"])
        assert stat.S_ISFIFO(Path("pipe").stat().st_mode)
    finally:
        os.close(pipe)


# --- rejects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_rejects_have_the_columns_and_format_of_their_source(form: str) -> None:
    """A rejected row stands there as it stood in its source, and says where that was, and why it was rejected."""
    in_format(form)
    main(["-qq"])
    assert left("rejects") == {f"{name}.{form}" for name in NAMES}
    found = members(f"rejects/products.{form}")
    assert [list(row)[:3] for row in found] == [["id", "name", "price"]] * 2
    assert found[0]["name"] == "Laptop"
    assert found[0]["_source"] == f"data/products.{form}"
    assert found[0]["_line"] == {"csv": "8", "json": None, "ndjson": 7}[form]
    assert found[0].get("_row") == (7 if form == "json" else None)
    reason = "unique-error: name 'Laptop' is product 1's"
    assert found[0]["_reasons"] == (reason if form == "csv" else [reason])


def test_only_a_finished_load_removes_earlier_rejects() -> None:
    """Rejects of an earlier run stay, where a check finds none, or where a load ends before it has any."""
    main(["-qq"])
    earlier = Path("rejects/orders.csv").read_bytes()
    write("fine.csv", "id,user_id,product_id,quantity", "1,1,1,2")
    assert main(["-qq", "--check", "orders=fine.csv"]) == 0
    assert Path("rejects/orders.csv").read_bytes() == earlier
    write("broken.csv", "no header")
    write("waits.csv", "id,user_id,product_id,quantity", "1,99,1,2")
    assert main(["-qq", "orders=waits.csv", "users=broken.csv"]) == 3
    assert Path("rejects/orders.csv").read_bytes() == earlier


def test_a_clean_run_leaves_no_rejects() -> None:
    """What was rejected before and is not any more is gone from the rejects, whatever its format was."""
    main(["-qq"])
    write("users.csv", "id,name,email", "21,A,a@x.io")
    assert main(["-qq", "users=users.csv"]) == 0
    assert left("rejects") == {"products.csv", "orders.csv"}
    write("users.ndjson", '{"id": 0, "name": "A", "email": "a@x.io"}')
    main(["-qq", "users=users.ndjson"])
    assert left("rejects") == {"users.ndjson", "products.csv", "orders.csv"}
    main(["-qq", "users=users.csv"])
    assert left("rejects") == {"products.csv", "orders.csv"}


def test_a_result_never_names_rejects_that_a_power_cut_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there is a result, the directory of the rejects is durable, and so is that the mended ones are gone."""
    synced: list[tuple[int, bool]] = []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, Path("result.json").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    assert main(["-qq"]) == 1
    assert (Path().stat().st_ino, False) in synced
    inode = Path("rejects").stat().st_ino
    assert (inode, False) in synced
    synced.clear()
    Path("result.json").unlink()
    write("rejects/users.csv", "id,name,email,_line,_source,_reasons", "8,Kim,kim@example.com,9,data/users.csv,mended")
    assert main(["-qq", "--data", "rejects", "users"]) == 0
    assert left("rejects") == {"products.csv", "orders.csv"}
    assert (inode, False) in synced


def test_more_rejections_than_the_result_holds() -> None:
    """Of 1,200 rejections the result holds 1,000 and says that 200 are left out; the rejects file holds all."""
    write("data/users.csv", "id,name,email", *(f"{at},,u{at}@x.io" for at in range(1, 1_201)))
    main(["-qq", "users"])
    users = of(valid(result()), "users")
    assert (users["rejected"], len(users["rejections"]), users["rejections_omitted"]) == (1_200, 1_000, 200)
    assert users["reasons"] == {"constraint-error": 1_200}
    assert [row["_line"] for row in members("rejects/users.csv")] == [str(at) for at in range(2, 1_202)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("users.csv", "id,name,email\n1,A,a@x.io\n"),
        ("users.csv", "id,name,email\n1,my _reasons,a@x.io\n"),
        ("users.ndjson", '{"id": 1, "name": "_reasons", "email": "a@x.io"}\n'),
        ("orders.json", "[]"),
        ("orders.ndjson", ""),
    ],
)
def test_a_file_of_others_is_never_taken_for_rejects(name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What has the name of a rejects file, and is none, is refused before anything is done, and keeps every byte."""
    write("mine/keep", "")
    Path("mine", name).write_text(text, encoding="utf-8")
    assert main(["--rejects", "mine"]) == 2
    assert f"mine/{name} would be overwritten with rejects" in capsys.readouterr().err
    assert Path("mine", name).read_text(encoding="utf-8") == text
    assert left() == {"mine"}


# --- mend and load again ---------------------------------------------------------------------------------------------


def mend(path: str, old: str, new: str) -> None:
    text = Path(path).read_bytes().decode(errors="surrogateescape")
    assert text.count(old) == 1
    Path(path).write_bytes(text.replace(old, new).encode(errors="surrogateescape"))


def _without_row(dataset: dict[str, Any], form: str) -> list[dict[str, Any]]:
    """The rejections; where rows are told by their lines, their numbers are those in the rejects file."""
    own = {"row"} if form != "json" else set()
    return [{name: value for name, value in each.items() if name not in own} for each in dataset["rejections"]]


@pytest.mark.parametrize("form", FORMATS)
def test_rejects_fed_back_unmended_are_as_before(form: str) -> None:
    """A rejects file is a valid input: loaded as it is, it is rejected for the same reasons, and stays as it was."""
    in_format(form)
    main(["-qq"])
    first, rejects = result(), contents()
    for _ in range(2):
        assert main(["-qq", "--data", "rejects"]) == 1
        again = valid(result())
        assert totals(again) == {"read": 8, "rejected": 8}
        assert contents() == rejects
        for name in NAMES:
            assert _without_row(of(again, name), form) == _without_row(of(first, name), form)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_mended_is_loaded_and_gone(form: str) -> None:
    """Mend product 7, and product 7 and order 7 load; then mend the rest in a second round, and no rejects are left."""
    in_format(form)
    main(["-qq"])
    before = contents()
    mend(f"rejects/products.{form}", *(f"7,{n}," if form == "csv" else f'"{n}"' for n in ("Laptop", "Laptop 2")))
    assert main(["-qq", "--data", "rejects"]) == 1
    assert (7, "Laptop 2", 1000) in rows("products")
    assert (7, 7, 7, 2) in rows("orders")
    assert totals(valid(result())) == {"read": 8, "inserted": 2, "rejected": 6}
    after = contents()
    assert after[f"users.{form}"] == before[f"users.{form}"]
    assert [row["id"] for row in members(f"rejects/products.{form}")] == ["10"]
    assert [row["id"] for row in members(f"rejects/orders.{form}")] == ["8", "9", "10"]
    originals = {
        "csv": [("9", None), ("10", None), ("11", None)],
        "json": [(None, 8), (None, 9), (None, 10)],
        "ndjson": [(8, None), (9, None), (10, None)],
    }
    places = [(row["_line"], row.get("_row")) for row in members(f"rejects/orders.{form}")]
    assert places == originals[form]
    assert {row["_source"] for row in members(f"rejects/orders.{form}")} == {f"data/orders.{form}"}

    mend(f"rejects/products.{form}", *(f"Earbuds,{p}" if form == "csv" else f'"{p}"' for p in ("-50.00", "50.00")))
    mend(f"rejects/users.{form}", *(("10,,", "10,Jane,") if form == "csv" else ('"name":""', '"name":"Jane"')))
    assert main(["-qq", "--data", "rejects"]) == 1
    assert rows("products")[-1] == (10, "Earbuds", 50)
    assert rows("users")[-1] == (10, "Jane", "jane@example.com")
    assert left("rejects") == {f"users.{form}", f"orders.{form}"}
    [last] = [row for row in members(f"rejects/orders.{form}") if row["id"] == "10"]
    assert "".join(last["_reasons"]) == "foreign-key: product_id no product 11"
    assert last.get("_line") == {"csv": "11", "json": None, "ndjson": 10}[form]


def test_a_row_keeps_its_place_through_rounds() -> None:
    """What is rejected again for another reason is still told by its line in the first file."""
    main(["-qq"])
    mend("rejects/orders.csv", "8,8,8,0", "8,1,8,0")
    mend("rejects/orders.csv", "9,9,1,-1", "9,9,77,1")
    for _ in range(2):
        main(["-qq", "--data", "rejects"])
        expected = [
            REFUSED["orders"][0],
            (9, [("constraint-error", "quantity", "must be > 0: 0")]),
            (10, [("foreign-key", "product_id", "no product 77")]),
            REFUSED["orders"][3],
        ]
        assert refused(result(), "orders") == expected
        assert {each["source"] for each in of(result(), "orders")["rejections"]} == {"data/orders.csv"}


RAW = {
    "csv": [
        (b'1,x"y,a@x.io', b"1,x y,a@x.io"),
        (b"2,short", b"2,short,b@x.io"),
        (b"3,too,long,c@x.io", b"3,too long,c@x.io"),
        (b"4,\xff\xfe,d@x.io", b"4,D,d@x.io"),
        (b"5,a\rb,e@x.io", b"5,E,e@x.io"),
        (b'"6,open', b"6,open,f@x.io"),
        (b'7,"he said ""no"" twice",g@x.io,,', b'7,"he said ""no"" twice",g@x.io'),
    ],
    "ndjson": [
        (b'{"id": 1, "name": "A", "email": "a@x.io"', b'{"id": 1, "name": "A", "email": "a@x.io"}'),
        (b"[1, 2]", b'{"id": 2, "name": "B", "email": "b@x.io"}'),
        (
            b'{"id": 3, "id": 4, "name": "C", "email": "c@x.io"}',
            b'{"id": 3, "name": "C", "email": "c@x.io"}',
        ),
        (
            b'{"id": 4, "name": "\xff", "email": "d@x.io"}',
            b'{"id": 4, "name": "D", "email": "d@x.io"}',
        ),
        (b'{"id": 5, "name": NaN}', b'{"id": 5, "name": "E", "email": "e@x.io"}'),
        (b"nonsense", b'{"id": 6, "name": "F", "email": "f@x.io"}'),
        (
            b'{"id": 7, "name": "\\udcff", "email": "g@x.io"}',
            b'{"id": 7, "name": "G", "email": "g@x.io"}',
        ),
    ],
}


@pytest.mark.parametrize(
    ("form", "text", "mended"), [(form, *each) for form, pairs in RAW.items() for each in pairs], ids=repr
)
def test_a_row_that_could_not_be_read_keeps_its_text(form: str, text: bytes, mended: bytes) -> None:
    """Its text round-trips byte for byte, is not wrapped again and again, and loads once it is mended there."""
    head = b"id,name,email\n" if form == "csv" else b""
    Path("users").mkdir()
    source, rejects = Path(f"users/users.{form}"), Path(f"rejects/users.{form}")
    source.write_bytes(head + text + b"\n")
    assert main(["-qq", "--data", "users"]) == 1
    first, refusals = rejects.read_bytes(), refused(result(), "users")
    line = 2 if form == "csv" else 1
    assert [at for at, _ in refusals] == [line]
    for _ in range(2):
        [row] = members(str(rejects))
        assert row["_raw"].encode(errors="surrogateescape") == text
        assert (str(row["_line"]), row["_source"]) == (str(line), str(source))
        assert main(["-qq", "--data", "rejects"]) == 1
        assert rejects.read_bytes() == first
        assert refused(result(), "users") == refusals
    row["_raw"] = mended.decode()
    if form == "csv":
        with rejects.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "name", "email", *row])
            writer.writeheader()
            writer.writerow(row)
    else:
        write(str(rejects), json.dumps(row))
    assert main(["-qq", "--data", "rejects"]) == 0
    [(key, *_)] = rows("users")
    assert key == int(mended.partition(b",")[0].rpartition(b" ")[2])
    assert not rejects.exists()


CELLS = ["two\nlines", "a\r\nb", "a\rb", 'the "B"', "a,b", " x ", "tab\tbed", "é", "_raw", "'", "\\", "=1+1"]


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_cell_of_a_rejected_row_keeps_its_text(cell: str) -> None:
    """Any cell that may be stored comes back from the rejects as it was: mend the rest, and it is stored so."""
    quoted = '"' + cell.replace('"', '""') + '"'
    Path("data/users.csv").write_bytes(f"id,name,email\n0,{quoted},a@x.io\n".encode())
    main(["-qq", "users"])
    rejects = Path("rejects/users.csv").read_bytes()
    main(["-qq", "--data", "rejects", "users"])
    assert Path("rejects/users.csv").read_bytes() == rejects
    Path("rejects/users.csv").write_bytes(rejects.replace(b"\n0,", b"\n1,"))
    assert main(["-qq", "--data", "rejects", "users"]) == 0
    assert rows("users") == [(1, cell, "a@x.io")]


@pytest.mark.parametrize("form", FORMATS)
def test_rejects_of_a_file_with_an_odd_name_can_be_fed_back(form: str) -> None:
    """A source whose name is not UTF-8 is named in the rejects, and these are a valid input nonetheless."""
    odd = os.fsdecode(b"od\xffd." + form.encode())
    text = {"csv": "id,name,email\n0,A,a@x.io\n"}.get(form, '{"id": 0, "name": "A", "email": "a@x.io"}')
    Path(odd).write_text(f"[{text}]" if form == "json" else text, encoding="utf-8")
    assert main(["-qq", f"users={odd}"]) == 1
    valid(result())
    rejects = contents()
    assert main(["-qq", "--data", "rejects"]) == 1
    assert of(result(), "users")["reasons"] == {"constraint-error": 1}
    assert contents() == rejects


WAYS = {
    "directory": ["--data", "rejects"],
    "names": [f"{name}=rejects/{name}.csv" for name in NAMES],
    "detour": ["--data", "data/../rejects"],
    "link": ["--data", "link"],
    "absolute": ["--data", "ABSOLUTE"],
}


@pytest.mark.parametrize("arguments", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("extra", [["--check"], ["--max-rejects", "0"]], ids=str)
def test_a_run_that_does_not_load_keeps_the_rejects(arguments: list[str], extra: list[str]) -> None:
    """Fed from the rejects, a run that stores nothing, or not all, leaves them as they are: they are nowhere else."""
    main(["-qq"])
    Path("link").symlink_to("rejects")
    mend("rejects/users.csv", "8,Alice,alice@", "8,Alice,alice.b@")
    before = contents()
    arguments = [str(Path("rejects").absolute()) if each == "ABSOLUTE" else each for each in arguments]
    main(["-qq", *arguments, *extra])
    assert contents() == before
    assert {each["rejects"] for each in valid(result())["datasets"]} == {f"rejects/{name}.csv" for name in NAMES}


def test_a_run_that_fails_keeps_the_rejects_of_what_failed() -> None:
    """Fed from the rejects, what fails or stops keeps its rejects; what is loaded leaves them."""
    main(["-qq"])
    mend("rejects/products.csv", "7,Laptop,", "7,Laptop 2,")
    mend("rejects/users.csv", "id,name,email", "id,name,e-mail")
    before = contents()
    assert main(["-qq", "--data", "rejects"]) == 3
    after = contents()
    assert {name for name in after if after[name] == before[name]} == {"users.csv", "orders.csv"}
    assert [row["id"] for row in members("rejects/products.csv")] == ["10"]
    mend("rejects/users.csv", "id,name,e-mail", "id,name,email")
    assert main(["-qq", "--data", "rejects"]) == 1
    assert stored() == (8, 9, 7)


def test_running_again_after_an_interruption_ends_as_without_it() -> None:
    """Interrupted while the rejects are loaded, and run again: the end is that of one run."""
    script = (
        "import os, signal, sys; from loader import cli; from loader.core.events import Committed\n"
        "tell = cli._Command._tell\n"
        "def stop(self, event):\n"
        "    tell(self, event)\n"
        "    if isinstance(event, Committed) and event.dataset == 'users': os.kill(os.getpid(), signal.SIGTERM)\n"
        "cli._Command._tell = stop\n"
        "sys.exit(cli.main(['-qq', '--data', 'rejects']))\n"
    )
    for directory in ("one", "two"):
        shutil.copytree("data", f"{directory}/data")
        os.chdir(directory)
        main(["-qq"])
        mend("rejects/users.csv", "8,Alice,alice@", "8,Alice,alice.b@")
        mend("rejects/orders.csv", "8,8,8,0", "8,8,8,5")
        if directory == "two":
            before = contents()
            done = subprocess.run([command()[0], "-c", script], env=environment(), timeout=60, check=False)
            assert done.returncode == 143
            assert of(valid(result()), "orders")["status"] == "interrupted"
            assert contents()["orders.csv"] == before["orders.csv"]
        main(["-qq", "--data", "rejects"])
        os.chdir("..")
    assert contents("one/rejects") == contents("two/rejects")
    assert [rows(name, "one") for name in NAMES] == [rows(name, "two") for name in NAMES]
    assert stored("one") == (9, 8, 7)


def test_results_differ_in_nothing_but_what_was_done() -> None:
    """Two runs with nothing new to store tell the same."""
    main(["-qq"])
    main(["-qq"])
    second = result()
    main(["-qq"])
    assert timeless(result()) == timeless(second)


def test_rejects_of_several_formats_keep_what_stood_there() -> None:
    """Rows of CSV and of NDJSON go to one file that holds both as they were; fed back, they fail again."""
    write("more/a.csv", "id,name,email", "1,A,a@x.y", "2,,b@x.y", '3,"open')
    write("more/b.ndjson", '{"id": 4, "name": ["p", "q"], "email": "d@x.y"}', '{"id": 5, "name": 5, "email": "e@x.y"}')
    assert main(["users=more/a.csv", "users=more/b.ndjson"]) == 1
    before = of(result(), "users")["rejections"]
    assert [each["values"].get("name") for each in before] == ["", None, ["p", "q"], 5]
    assert main(["-d", "rejects"]) == 1
    after = of(result(), "users")["rejections"]
    assert [(each["source"], each["line"]) for each in after] == [(each["source"], each["line"]) for each in before]
    assert len(rows("users")) == 1


def test_a_column_that_only_a_later_file_has_is_kept_in_the_rejects() -> None:
    """Rejects have the columns of all files of their dataset."""
    write("more/a.csv", "id,name,email", "0,A,a@x.y")
    write("more/b.csv", "id,name,email,nick", "0,B,b@x.y,Bee")
    assert main(["users=more/a.csv", "users=more/b.csv", "--ignore-extra"]) == 1
    assert [row.get("nick") for row in members("rejects/users.csv")] == [None, "Bee"]


@pytest.mark.parametrize("quoted", ["", '"'])
def test_rows_of_another_delimiter_or_order_are_written_as_the_rejects_are(quoted: str) -> None:
    """Only a row whose file is divided as the rejects are, with the same columns, is written as it stands."""
    write("data/users.csv", "id;name;email", f"{quoted}x{quoted};A,B;a@x.io")
    write("more.csv", "email,id,name", f"b@x.io,{quoted}y{quoted},B")
    sources = [loader.file_source("data/users.csv", delimiter=";"), loader.file_source("more.csv")]
    with RejectsWriter(Path("rejects"), {"users": []}, check=False) as observe:
        loader.run([loader.Job(USERS, sources, Path("users.db"))], observe=observe)
    with Path("rejects/users.csv").open(newline="", encoding="utf-8") as file:
        told = [(each["id"], each["name"], each["email"]) for each in csv.DictReader(file)]
    assert told == [("x", "A,B", "a@x.io"), ("y", "B", "b@x.io")]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_row_that_is_too_long_keeps_its_place_through_rounds(form: str) -> None:
    """A row of more than 1 MiB, and one of quotes, is rejected round after round, with the place it had at first."""
    (Path("data") / "users.csv").unlink()
    name = "a" * (2**20 + 100)
    line = {"csv": f"1,{name},a@x.y", "ndjson": json.dumps({"id": 1, "name": name, "email": "a@x.y"})}[form]
    quotes = {"csv": '2,"' + '""' * 2**19 + ",b", "ndjson": '{"id": 2, ' + '"' * 2**20}[form]
    write(f"data/users.{form}", *(["id,name,email"] if form == "csv" else []), line, quotes)
    assert main(["users"]) == 1
    first = Path(f"rejects/users.{form}").read_bytes()
    places = [(each["source"], each["line"]) for each in of(result(), "users")["rejections"]]
    for _ in range(3):
        assert main(["-d", "rejects"]) == 1
        assert [(each["source"], each["line"]) for each in of(result(), "users")["rejections"]] == places
        assert Path(f"rejects/users.{form}").read_bytes() == first


def test_the_row_of_a_fed_back_record_is_not_made_up() -> None:
    """A rejects file of CSV knows the line that a row had at first, and not which record it was."""
    main([])
    assert of(result(), "orders")["rejections"][0]["row"] == 7
    main(["-d", "rejects"])
    fed_back = of(valid(result()), "orders")["rejections"][0]
    assert (fed_back["line"], fed_back["row"]) == (8, None)


def test_the_result_holds_no_endless_texts() -> None:
    """Of a long cell the result has the beginning, and a message quotes little of it; the rejects have it whole."""
    price = "-" + "7" * 200_000
    write("data/products.csv", "id,name,price", f"1,{'x' * 5_000}\x07,{price}")
    assert main(["products"]) == 1
    [rejection] = of(valid(result()), "products")["rejections"]
    assert rejection["values"]["name"].endswith("... (5,001 characters)")
    assert Path("result.json").stat().st_size < 10_000
    assert price in Path("rejects/products.csv").read_text()


def test_the_result_holds_no_endless_rows() -> None:
    """Of names that rows make up the result has some, and of long ones the beginning; the rejects have all."""
    Path("data/users.csv").unlink()
    endless = {"x" * 900_000: 1}
    countless = {f"made_up_{at}": "x" * 50 for at in range(10_000)}
    write("data/users.ndjson", *(json.dumps({"id": 1, **extra}) for extra in (endless, countless)))
    assert main(["users"]) == 1
    first, second = of(valid(result()), "users")["rejections"]
    assert first["reasons"][2]["field"].startswith("xxx")
    assert len(second["reasons"]) == 2 + 100 + 1
    assert second["reasons"][-1]["message"] == "has 9,900 more names that are no fields"
    assert 100 < len(second["values"]) < 500
    assert Path("result.json").stat().st_size < 100_000
    assert [len(row) for row in members("rejects/users.ndjson")] == [2 + 3, 10_001 + 3]


def test_the_result_is_not_written_over_rejects(capsys: pytest.CaptureFixture[str]) -> None:
    """The result may not take the name that rejects of the run may get."""
    assert main(["--rejects", "rejects", "--export", "data/../rejects/users.csv"]) == 2
    Path("rejects").mkdir()
    assert main(["--export", "rejects/users.csv"]) == 2
    assert "takes rejects" in capsys.readouterr().err


def test_a_line_of_carriage_returns_cannot_be_read() -> None:
    """Two carriage returns before a line feed are a stray one, and stay one when the row is fed back."""
    Path("data/users.csv").write_bytes(b"id,name,email\r\n1,A,a@x.y\r\n\r\r\n2,B,b@x.y\r\n")
    for _ in range(2):
        assert main(["users"]) == 1
        [rejection] = of(result(), "users")["rejections"]
        assert rejection["reasons"] == [
            {
                "code": "row-error",
                "field": None,
                "message": "cannot be split into cells: a carriage return stands where none may",
            }
        ]
        shutil.copy("rejects/users.csv", "data/users.csv")
