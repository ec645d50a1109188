"""The start of the command line, as `muspike` and as `python -m muspike` (for launchers such as torchrun).

Nothing is imported before the part that a signal may interrupt without a traceback.
"""

import sys


def main() -> int:
    """Run the command line and return the exit status."""
    try:
        from muspike import cli

        return cli.main()
    except KeyboardInterrupt:  # before the command line is there to take it, or after it
        return 130


if __name__ == "__main__":
    sys.exit(main())
