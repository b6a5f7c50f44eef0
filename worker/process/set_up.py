"""Steps that the Celery app and the signals of a worker share: configure the log, leave with a message."""

import sys
from typing import NoReturn

from worker.adapters.log import configure_logging
from worker.settings import Settings


def configure_log(settings: Settings) -> None:
    """Configure logging from the settings."""
    configure_logging(settings.log_level, settings.log_format, zone=settings.zone, secrets=settings.secrets)


def leave(message: str) -> NoReturn:
    """Print a message and raise SystemExit. If a signal handler raises any other exception, Celery only logs it."""
    print(message, file=sys.stderr)
    raise SystemExit(1)
