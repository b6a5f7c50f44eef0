"""The command line: `reconciler COMMAND`."""

import gc
import sys


def main() -> None:
    """Run the command that the process was called with, and exit: 0 done, 1 could not, 2 used wrongly, 130 Ctrl-C."""
    try:
        from worker.cli.app import app

        app(prog_name="reconciler")
    except KeyboardInterrupt:
        # While the modules are loaded; later, the commands' group handles it.
        sys.exit(130)
    finally:
        # At its end Python searches all that was loaded for garbage, twice: a quarter of what a command takes.
        gc.freeze()
