"""The command line: `reconciler COMMAND`."""

import gc
import sys


def main() -> None:
    """Run the command in the process's arguments, and exit: 0 done, 1 could not, 2 used wrongly, 130 Ctrl-C."""
    try:
        from worker.cli.app import app

        app(prog_name="reconciler")
    except KeyboardInterrupt:
        # Ctrl-C while modules are loaded; later, the commands' group handles it.
        sys.exit(130)
    finally:
        # When Python ends, it searches all objects for garbage, twice: that would take a quarter of a command's time.
        gc.freeze()
