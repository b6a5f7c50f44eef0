"""The version of the program that this process runs."""

from functools import cache
from importlib.metadata import version

import structlog

VERSION = version("recharge-reconciler")
"""Read as the program starts: what is installed later is not what runs."""

log = structlog.stdlib.get_logger(__name__)


@cache
def log_version() -> None:
    """Log the version, once. It is the first line of a program that goes on."""
    log.info("started", action="started", version=VERSION)
