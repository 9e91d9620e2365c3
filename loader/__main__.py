"""`python -m loader`."""

import sys


def main() -> int:
    """Run the command line, and return the exit code; a Ctrl-C counts from the first import on."""
    try:
        from loader.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    except (ImportError, MemoryError, OSError) as error:
        print(f"loader: it cannot be started: {error!r}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
