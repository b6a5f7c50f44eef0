"""Statements that SQLAlchemy has compiled, kept for all engines of a test process.

An engine keeps its own, and a test makes several engines: to compile the same statements for each of them took a fifth
of the processor time of the tests that use a database.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event

_MOST = 3_000


class _Compiled:
    """A cache for engines whose dialects compile alike: those of one driver, at servers of one version.

    No dict itself: a traceback in the log shows the contents of dicts, and those of this one take minutes.
    """

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def get(self, key: Any, default: Any = None) -> Any:
        return self._kept.get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[_of_any_engine(key)] = value


def _of_any_engine(key: Any) -> Any:
    dialect, *statement = key
    return type(dialect), dialect.server_version_info, *statement


_compiled = _Compiled()


def share_compiled_statements() -> None:
    """Let all engines of this process use one cache from now on."""
    event.listen(Engine, "engine_connect", _use_shared)


def _use_shared(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)
