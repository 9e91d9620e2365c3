"""The generator of files for benchmarks: reproducible, and as faulty as it is asked to be."""

import subprocess
import sys
from pathlib import Path

import pytest

from loader.cli import main
from tests.benchmarks.generate import generate
from tests.test_cli import NAMES, ROOT, of, result, settle_in

SIZES = {"users": 2_000, "products": 400, "orders": 4_000}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_in(tmp_path, monkeypatch)


def make(directory: str, faults: float = 0.05, seed: int = 1, form: str = "csv") -> dict[str, bytes]:
    generate(Path(directory), SIZES["users"], SIZES["products"], SIZES["orders"], faults, seed, form)
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A seed stands for its files; another stands for others."""
    first = make("one")
    assert set(first) == {"users.csv", "products.csv", "orders.csv"}
    assert make("two") == first
    other = make("three", seed=2)
    assert all(other[name] != first[name] for name in first)


def test_files_are_of_the_size_that_was_asked_for() -> None:
    """Each file has as many rows as it should, behind its header."""
    assert {name.partition(".")[0]: text.count(b"\n") - 1 for name, text in make("one").items()} == SIZES


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_as_many_rows_are_spoilt_as_was_asked_for(rate: float) -> None:
    """The share of rejected users and products is about the rate; orders also lack those."""
    make("one", faults=rate)
    assert main(["-qq", "--data", "one"]) == (1 if rate else 0)
    document = result()
    for name in ("users", "products"):
        told = of(document, name)
        assert told["read"] == SIZES[name]
        assert rate * 0.6 <= told["rejected"] / told["read"] <= rate * 1.4
    codes = set().union(*(of(document, name)["reasons"] for name in NAMES))
    expected = {"type-error", "constraint-error", "primary-key", "unique-error", "foreign-key"}
    assert codes == (expected if rate else set())


def test_each_format_says_the_same() -> None:
    """The files of one seed are loaded with the same counts and reasons, whatever their format."""
    told = []
    for form in ("csv", "json", "ndjson"):
        make(form, form=form)
        main(["-qq", "--data", form, "--into", f"{form}/databases"])
        told.append([(each["inserted"], each["rejected"], each["reasons"]) for each in result()["datasets"]])
    assert told[0] == told[1] == told[2]
    assert all(rejected for _, rejected, _ in told[0])


def test_it_can_be_run_as_a_script() -> None:
    """From a shell it makes what it makes from Python."""
    sizes = [argument for name, size in SIZES.items() for argument in (f"--{name}", str(size))]
    arguments = [str(ROOT / "tests/benchmarks/generate.py"), "script", *sizes, "--faults", "0.05", "--seed", "1"]
    subprocess.run([sys.executable, *arguments], timeout=60, check=True)
    assert {path.name: path.read_bytes() for path in Path("script").iterdir()} == make("one")


def test_keys_may_be_uuids() -> None:
    """With the models beside the generator the files are loaded as those with integers are."""
    generate(Path("uuids"), SIZES["users"], SIZES["products"], SIZES["orders"], 0.0, 1, "csv", keys="uuids")
    assert main(["-qq", "--data", "uuids", "--models", str(ROOT / "tests/benchmarks/uuids.py")]) == 0
    assert [each["inserted"] for each in result()["datasets"]] == list(SIZES.values())
