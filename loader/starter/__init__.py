"""What `--init` writes: models of one's own, a file for each, and the table of pyproject.toml that names the models."""

import os
import tomllib
from pathlib import Path

from loader.core.errors import UsageError

_TEMPLATES = Path(__file__).parent
_CONFIGURATION = "pyproject.toml"
_FILES = ("models.py", "data/authors.csv", "data/books.csv")


def write_starter(directory: Path) -> list[Path]:
    """Write the files into a directory, which is made if needed, and return their paths.

    A pyproject.toml that is there gets the table appended. Raises UsageError, and writes nothing, if it has the table
    already, or if one of the other files is there.
    """
    files = {directory / name: _TEMPLATES / name for name in _FILES}
    configuration = directory / _CONFIGURATION
    try:
        if there := [str(file) for file in files if os.path.lexists(file)]:
            raise UsageError(f"--init: {' and '.join(there)} would be overwritten; choose another directory")
        addition = _addition(configuration)
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        for file, template in files.items():
            with file.open("xb") as new:
                new.write(template.read_bytes())
        with configuration.open("ab") as old:
            old.write(addition)
    except OSError as error:
        raise UsageError(f"--init: {error.filename}: {error.strerror}") from error
    return [*files, configuration]


def _addition(configuration: Path) -> bytes:
    """What is to be appended to a pyproject.toml, which need not be there."""
    old = configuration.read_bytes() if os.path.lexists(configuration) else b""
    gap = b"" if not old else b"\n" if old.endswith(b"\n") else b"\n\n"
    addition = gap + (_TEMPLATES / _CONFIGURATION).read_bytes()
    try:
        tool = tomllib.loads(old.decode()).get("tool")
        if isinstance(tool, dict) and "loader" in tool:
            raise UsageError(f"--init: {configuration} has a [tool.loader] already; choose another directory")
        tomllib.loads((old + addition).decode())
    except ValueError as error:
        raise UsageError(f"--init: {configuration} cannot take a [tool.loader]: {error}") from error
    return addition
