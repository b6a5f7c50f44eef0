"""The command line: `reconciler COMMAND`."""

import gc
import sys


def main() -> None:
    """Run the command that the process's arguments name, and exit: 0 done, 1 could not, 2 used wrongly, 130 Ctrl-C."""
    try:
        from worker.cli.app import app

        app(prog_name="reconciler")
    except KeyboardInterrupt:
        # This handles Ctrl-C while modules are loaded. Later, the group of commands handles it.
        sys.exit(130)
    finally:
        # Exempt all objects from garbage collection. When Python ends, it would search them twice, which takes a
        # quarter of a command's time.
        gc.freeze()
