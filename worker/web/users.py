"""The users of the console, read from the file of users as it is now; and checks of their passwords."""

import threading
from collections.abc import Mapping
from pathlib import Path

import structlog
from werkzeug.security import check_password_hash, generate_password_hash

from worker.adapters.users_file import read_users
from worker.domain.records.operators import User

log = structlog.stdlib.get_logger(__name__)

_Version = tuple[int, int, int]

# Parameters from OWASP's cheat sheet on storing passwords. Each hash takes 32 MiB of memory and about 0.2 s of a
# processor.
_METHOD = "scrypt:32768:8:3"
# A hash that no password has: the hash of no password is all zeros.
_NO_PASSWORD = f"{_METHOD}$none${'0' * 128}"
_AT_ONCE = 2
_PATIENCE_SECONDS = 3.0

_places = threading.BoundedSemaphore(_AT_ONCE)


class Users:
    """The users in a file, which is read again when it changes. Safe to use from several threads."""

    def __init__(self, path: Path | None) -> None:
        """Without a path there are no users, and no sign-in is possible."""
        self._path = path
        self._lock = threading.Lock()
        self._version: _Version | None = None
        self._users: Mapping[str, User] = {}

    @property
    def is_configured(self) -> bool:
        """Whether there is a file."""
        return self._path is not None

    def find(self, name: str) -> User | None:
        """The user with this name; None if there is none, or while the file cannot be read."""
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
                "no sign-in is possible: the file of users cannot be used", action="users_unreadable", error=str(error)
            )
            return {}


def _version_of(path: Path) -> _Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Busy(Exception):
    """Too many passwords are being checked."""


def hash_of(password: str) -> str:
    """The hash of a password as it is stored, with a salt of its own."""
    return generate_password_hash(password, method=_METHOD)


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether a password has this hash. A hash of None stands for an unknown user. The check then takes as long as for
    a known user.

    A process checks at most two passwords at once: each takes much memory, and one client must not occupy every thread.
    Raises Busy after waiting for 3 seconds.
    """
    if not _places.acquire(timeout=_PATIENCE_SECONDS):
        raise Busy
    try:
        return check_password_hash(password_hash or _NO_PASSWORD, password) and password_hash is not None
    except ValueError:
        # The hash names a method that the installed werkzeug does not know. Then the file of users was written by hand.
        return False
    finally:
        _places.release()
