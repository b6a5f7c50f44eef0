"""Logging: one format for our records and those of libraries, for people (`console`) or machines (`json`).

Our records are written as `log.info("query answered", action="query_answered", ...)`. The words may change in a later
release, but the `action` never changes, so dashboards and alerts can use the `action`. A library's record has the
action `library_log`.

The first record of a long-running program names its version.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.metadata import version
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.adapters.safe_text import CONTROLS, Redactor, escape_controls

VERSION = version("recharge-reconciler")
"""The version of the program that this process runs. It is read when the process starts, because a version that is
installed later is not the one that runs."""
LIBRARY_ACTION = "library_log"
UNNAMED_ACTION = "unnamed"

# Whatever the level, these loggers stay at WARNING or above. Below WARNING, urllib3 logs each URL with its signature,
# SQLAlchemy logs each statement with its parameters, such as phone numbers, and Alembic logs two lines whenever a
# database's revision is read.
_QUIET_LOGGERS = ("urllib3", "sqlalchemy", "alembic")

_FIRST_KEYS = ("timestamp", "level", "logger", "action", "event")

# Every line of a traceback starts with this text, and no record does. So a line of an error's message cannot be
# mistaken for a record.
_CONTINUATION = "  | "


class _Handler(logging.StreamHandler[TextIO]):
    """A handler that reports a failure to write a record, without printing the record."""

    def handleError(self, record: logging.LogRecord) -> None:
        # This replaces the inherited method, which prints the raw record and its arguments without redaction. If the
        # cause is a full disk or a closed pipe, the line written here fails as well. That error is suppressed, because
        # a log must never stop the work.
        with contextlib.suppress(Exception):
            kind = sys.exc_info()[0]
            name = escape_controls(record.name)
            self.stream.write(f"a record of {name} could not be logged: {kind.__name__ if kind else 'unknown'}\n")
            self.flush()


def configure_logging(
    level: str, log_format: str, *, zone: tzinfo = UTC, secrets: Sequence[str] = (), stream: TextIO | None = None
) -> None:
    """Set up structlog and the standard library's logging for this process. A later call replaces the set-up of an
    earlier one.

    `level` is the name of a level, `log_format` is `console` or `json`, and `secrets` are texts that no record may
    show. Times are in `zone` with its offset; with `json` they are in UTC.
    Records go to `stream`, by default standard error, so that standard output contains only a command's data.
    Within Celery call this from the `setup_logging` signal: if the signal has a receiver, Celery adds no handlers of
    its own.
    Raises ValueError for an unknown level.
    """
    target = stream if stream is not None else sys.stderr
    # The new handler is made before the old handlers are replaced. So a wrong level, which raises ValueError here, does
    # not leave the process without logs.
    handler = _Handler(target)
    handler.setLevel(level)
    common = _common(UTC if log_format == "json" else zone)
    handler.setFormatter(_formatter(log_format, Redactor(secrets), common, colors=target.isatty()))

    root = logging.getLogger()
    # All other handlers are removed. They would write each record again, without redaction.
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(handler.level, logging.WARNING))
    # Pass Python's warnings to logging. Otherwise Python would print a warning without the formatter, as two lines that
    # are not JSON.
    logging.captureWarnings(True)
    _configure_structlog(common)


@cache
def log_version() -> None:
    """Log the program's version, once per process."""
    structlog.stdlib.get_logger(__name__).info("started", action="started", version=VERSION)


def _configure_structlog(common: list[Processor]) -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # If loggers were cached, a logger would keep the set-up that applied to its first record, even after another
        # call of `configure_logging`.
        cache_logger_on_first_use=False,
    )


def _common(zone: tzinfo) -> list[Processor]:
    def stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["timestamp"] = datetime.now(zone).isoformat().replace("+00:00", "Z")
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        stamp,
    ]


def _formatter(log_format: str, redactor: Redactor, common: list[Processor], *, colors: bool) -> logging.Formatter:
    def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {redactor.text(str(key)): redactor.value(value, key=str(key)) for key, value in event.items()}

    renderer: list[Processor]
    if log_format == "json":
        renderer = [_render_json]
    else:
        # The plain formatter of tracebacks is chosen because the default formatter shows local variables, which include
        # credentials.
        plain = structlog.dev.plain_traceback
        console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain, sort_keys=False)
        renderer = [_escape_for_console, console]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[
            _add_action,
            # `dict_tracebacks` is not used here, because it would store the values of local variables in the record.
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            _order_keys,
            *renderer,
        ],
    )


def _add_action(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.setdefault("action", UNNAMED_ACTION if event["_from_structlog"] else LIBRARY_ACTION)
    return event


def _order_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {key: event[key] for key in _FIRST_KEYS if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    text = json.dumps(event, ensure_ascii=False, default=str)
    # `ensure_ascii` is off so that Chinese stays readable. Then json does not escape all control characters. Those that
    # are left can only be inside a JSON string, so each is replaced by JSON's escape for it, which means the same.
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape_for_console(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {escape_controls(key): _escaped(key, value) for key, value in event.items()}


def _escaped(key: str, value: object) -> object:
    if key in {"exception", "stack"} and isinstance(value, str):
        return "\n".join(_CONTINUATION + escape_controls(line) for line in value.split("\n"))
    if isinstance(value, str):
        return escape_controls(value)
    # Numbers stay as they are. Lists and mappings need no escaping here: the console shows them by repr(), which
    # escapes control characters.
    return value
