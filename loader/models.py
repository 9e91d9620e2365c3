"""The datasets to load: those of the sample, or those that a module or a file of the user declares."""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from loader.core.dataset import Dataset, in_reference_order
from loader.core.errors import LoaderError, UsageError
from loader.datasets import DATASETS


def find_datasets(models: str | None, directory: Path) -> Sequence[Dataset]:
    """The datasets of a module, or of a file whose name ends in .py, in order of definition; of the sample, if None.

    A file is looked for from `directory`. Its own directory, or that given for a module, becomes the first that Python
    imports from: there are its siblings, and processes that parse find the classes by the name of their module.

    Raises UsageError, naming file and line, if it is not there, cannot be imported or declares nothing;
    DeclarationError if its datasets cannot be loaded together.
    """
    if models is None:
        return DATASETS
    found = list(dict.fromkeys(_declared(_imported(models, directory.resolve()))))
    if not found:
        raise UsageError(f"models: {models} declares nothing: none of its names is a Dataset, or a list of them")
    in_reference_order(found)
    return found


def from_here(path: Path) -> Path:
    """A path as it is called from the working directory, if it is beneath that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _declared(module: ModuleType) -> Iterator[Dataset]:
    for value in vars(module).values():
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, Dataset):
                yield each


def _imported(models: str, directory: Path) -> ModuleType:
    if not models.endswith(".py"):
        return _import(models, directory, models)
    file = (directory / models).resolve()
    if not file.is_file():
        raise UsageError(f"models: {models} is not there, or is not a file")
    module = _import(file.stem, file.parent, models)
    other = getattr(module, "__file__", None)
    if other is None or Path(other).resolve() != file:
        raise UsageError(f"models: {models} needs another name: {file.stem} is {other or 'a part of Python'}")
    return module


def _import(name: str, directory: Path, models: str) -> ModuleType:
    if sys.path[0] != str(directory):
        sys.path.insert(0, str(directory))
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        where = _place(error) or f"models: {models} cannot be imported"
        raise UsageError(f"{where}: {_fault(error)}") from error


def _others() -> tuple[str, ...]:
    """How the file names begin of code that is not the user's: generated, of loader, of Python, of packages."""
    from site import getsitepackages, getusersitepackages

    libraries = [str(Path(file).parent) for file in (__file__, os.__file__)]
    return "<", *(f"{path}{os.sep}" for path in (*libraries, *getsitepackages(), getusersitepackages()))


def _place(error: BaseException) -> str | None:
    """The file and line of the user's code where an error comes from, if it is from there."""
    steps = [(step.filename, step.lineno) for step in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        steps.append((error.filename or "<unknown>", error.lineno))
    for name, line in reversed(steps):
        if not name.startswith(_others()):
            return f"{from_here(Path(name))}:{line}"
    return None


def _fault(error: BaseException) -> str:
    """What an error says, in one line."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    if isinstance(error, LoaderError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
