"""What --init writes can be loaded as it stands, and nothing that is there is harmed."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from loader.cli import COMMAND
from tests.test_cli import command, environment, exit_code, left, of, program, refused, result, write

TEMPLATES = {"models.py", "data/authors.csv", "data/books.csv", "pyproject.toml"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def there(directory: Path | str = ".") -> dict[str, bytes]:
    """The files in a directory, and all that is in it, with what they hold."""
    files = [path for path in Path(directory).rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def told(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What is said of the files, and the command that is to be typed next."""
    written, following = capsys.readouterr().out.splitlines()
    return written.removeprefix("Written: "), following.partition(" your own: ")[2]


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """An environment in which `python` is the interpreter that runs the tests."""
    file = write(str(tmp_path.parent / f"{tmp_path.name}-bin" / "python"), "#!/bin/sh", f'exec {command()[0]} "$@"')
    file.chmod(0o755)
    yield environment(PATH=f"{file.parent}{os.pathsep}{os.environ['PATH']}")
    shutil.rmtree(file.parent)


@pytest.mark.parametrize("directory", [".", "my shop/it's new"])
def test_what_is_said_to_be_next_loads_the_templates(
    directory: str, python: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, typed as it stands, loads the files, and one row is rejected for what it refers to."""
    assert exit_code("--init", *([] if directory == "." else [directory])) == 0
    written, following = told(capsys)
    assert written.split(", ") == [
        str(Path(directory, name)) for name in ("models.py", *sorted(TEMPLATES)[:2], "pyproject.toml")
    ]
    assert following.endswith(COMMAND)
    assert set(there(directory)) == TEMPLATES
    done = subprocess.run(["bash", "-c", following], env=python, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count(b"rejected")) == (1, 2)
    document = result(Path(directory, "result.json"))
    assert [of(document, name)["inserted"] for name in ("authors", "books")] == [3, 3]
    assert refused(document, "authors") == []
    assert refused(document, "books") == [(4, [("foreign-key", "author_id", "no author 9")])]


@pytest.mark.parametrize("name", sorted(TEMPLATES - {"pyproject.toml"}))
def test_nothing_is_overwritten(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one of the files is there it is named, and nothing is written, not even beside it."""
    write(f"shop/{name}", "mine")
    assert exit_code("--init", "shop") == 2
    assert f"loader: --init: {Path('shop', name)} would be overwritten" in capsys.readouterr().err
    assert there("shop") == {name: b"mine\n"}
    assert left("shop") == {name.partition("/")[0]} - {"data"}


def test_a_link_to_nowhere_is_there_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A symbolic link is not written through."""
    Path("models.py").symlink_to("elsewhere.py")
    assert exit_code("--init") == 2
    assert "models.py would be overwritten" in capsys.readouterr().err
    assert there() == {}


@pytest.mark.parametrize(
    "text", [b"", b"[tool.black]\nline-length = 100\n", b"[project]\r\nname = 'x'", b"tool.a.b = 1\n"]
)
def test_a_pyproject_gets_the_table_appended(text: bytes) -> None:
    """A pyproject.toml that does not speak of loader keeps each byte, and the table follows."""
    Path("pyproject.toml").write_bytes(text)
    assert exit_code("--init") == 0
    content = Path("pyproject.toml").read_bytes()
    assert content.startswith(text)
    assert (b"\n\n[tool.loader]" in content) is bool(text)
    assert b"\n\n\n" not in content
    assert tomllib.loads(content.decode()) == {
        **tomllib.loads(text.decode()),
        "tool": {**tomllib.loads(text.decode()).get("tool", {}), "loader": {"models": "models.py"}},
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"[tool.loader]\n", "has a [tool.loader] already"),
        (b"[tool.loader.more]\n", "has a [tool.loader] already"),
        (b"[tool\n", "cannot take a [tool.loader]: "),
        (b"tool = {black = {}}\n", "cannot take a [tool.loader]: "),
        (b"tool = 1\n", "cannot take a [tool.loader]: "),
        (b"\xff\n", "cannot take a [tool.loader]: "),
    ],
)
def test_a_pyproject_that_cannot_take_it_is_refused(
    text: bytes, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that is there already, or could not be read afterwards, is left alone, and nothing is written."""
    Path("pyproject.toml").write_bytes(text)
    assert exit_code("--init") == 2
    assert f"loader: --init: pyproject.toml {fault}" in capsys.readouterr().err
    assert there() == {"pyproject.toml": text}


@pytest.mark.parametrize("directory", ["file", "file/shop", "x" * 300])
def test_a_directory_that_cannot_be_made_ends_with_2(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The way is blocked by a file, or the name is too long."""
    write("file")
    assert exit_code("--init", directory) == 2
    assert capsys.readouterr().err.startswith(f"loader: --init: {directory}")
    assert there() == {"file": b""}


@pytest.mark.parametrize("more", [["--check"], ["--into", "x"], ["shop", "users"]])
def test_init_goes_alone(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What has no meaning here is refused rather than ignored."""
    assert exit_code("--init", *more) == 2
    assert "--init goes with no other option, and no NAME" in capsys.readouterr().err
    assert there() == {}


def test_a_closed_stdout_does_not_disturb() -> None:
    """The files are written though nobody reads what is said."""
    with open("/dev/full", "wb") as full:
        assert program("--init", stdout=full).returncode == 0
    assert set(there()) == TEMPLATES
