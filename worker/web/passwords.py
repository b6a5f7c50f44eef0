"""Hashed passwords of the console's users: scrypt, with parameters from OWASP's cheat sheet on storing passwords."""

import threading

from werkzeug.security import check_password_hash, generate_password_hash

# 32 MiB and some 0.2 s of a processor.
_METHOD = "scrypt:32768:8:3"
# Of no password: nothing hashes to zeros.
_NOBODYS = f"{_METHOD}$nobody${'0' * 128}"
_AT_ONCE = 2
_PATIENCE_SECONDS = 3.0

_places = threading.BoundedSemaphore(_AT_ONCE)


class Busy(Exception):
    """Too many passwords are being checked."""


def hash_of(password: str) -> str:
    """What is stored of a password, with a salt of its own."""
    return generate_password_hash(password, method=_METHOD)


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether a password is the one. None: there is no such user, which takes as long to find out.

    Two are checked at once in a process: each takes much memory, and whoever sends many is not to take every thread.
    Raises Busy after 3 seconds without a place.
    """
    if not _places.acquire(timeout=_PATIENCE_SECONDS):
        raise Busy
    try:
        return check_password_hash(password_hash or _NOBODYS, password) and password_hash is not None
    except ValueError:
        # A method that this werkzeug does not know: the file was written by hand.
        return False
    finally:
        _places.release()
