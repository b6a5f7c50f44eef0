"""The users of the console, as their file says at present: it is read again when it changes."""

import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from worker.adapters.users_file import read_users
from worker.domain.records.access import User

log = structlog.stdlib.get_logger(__name__)

_Version = tuple[int, int, int]


class Users:
    """Safe to use from several threads."""

    def __init__(self, path: Path | None) -> None:
        """None: there is no file, and nobody can sign in."""
        self._path = path
        self._lock = threading.Lock()
        self._version: _Version | None = None
        self._users: Mapping[str, User] = {}

    @property
    def is_configured(self) -> bool:
        """Whether there is a file."""
        return self._path is not None

    def find(self, name: str) -> User | None:
        """The user of a name. While the file cannot be read there is none."""
        if self._path is None:
            return None
        with self._lock:
            version = _version_of(self._path)
            if version is None or version != self._version:
                self._users, self._version = self._read(self._path), version
            return self._users.get(name)

    def _read(self, path: Path) -> Mapping[str, User]:
        try:
            return read_users(path)
        except ValueError as error:
            log.error(
                "nobody can sign in: the file of users cannot be used", action="users_unreadable", error=str(error)
            )
            return {}


def _version_of(path: Path) -> _Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
