"""Atheris at the readers: `python -m tests.torture.fuzz csv|ndjson|json DIRECTORY [-runs=N | -max_total_time=SECONDS]`.

What it finds worth keeping goes into the directory; the corpus is read as well.
"""

import sys

import atheris

with atheris.instrument_imports(include=["loader"]):
    from tests.torture.readers import CORPUS, check


def main(ending: str, *arguments: str) -> None:
    def target(data: bytes) -> None:
        check(ending, data)

    atheris.Setup([sys.argv[0], *arguments, str(CORPUS / ending)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
