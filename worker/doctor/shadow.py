"""Whether `celery -A worker` loads another program: Celery looks for `worker` in the current folder first."""

import os
from importlib.machinery import PathFinder
from pathlib import Path

from worker.doctor.checks import Check, fatal

_OURS = "celery_settings.py"
"""A module of this package, so that a checkout of it shadows nothing."""


def shadow() -> Check | None:
    """The finding that a `worker.py` or `worker/` of the current folder stands before this package; None without."""
    spec = PathFinder.find_spec("worker", [os.getcwd()])
    # A folder without __init__.py has no origin, and comes after every package.
    if spec is None or spec.origin is None or Path(spec.origin).with_name(_OURS).exists():
        return None
    return fatal(
        "working_folder",
        f"celery -A worker loads {spec.origin} here, and not this program",
        "rename it, or start in another folder",
    )
