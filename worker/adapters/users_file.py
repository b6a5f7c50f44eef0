"""The TOML file of the users who may sign in at the console. It has a table for each user, with the hashed password and
the role.

A `Fault` is one line and never shows a hash. If several programs edit the file at once, they do so one after the other.
A program that reads the file meanwhile sees either the whole old content or the whole new content.
"""

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.adapters.text_files import read_toml
from worker.domain.orders.operator_acts import actor_fault
from worker.domain.records.operators import Role, User
from worker.domain.records.sentences import Fault, Sentence, _

_HEAD = "# Who may sign in at the console. `reconciler user` writes this file; passwords are hashed.\n"
_KEYS = {"password", "role"}
_HASH = re.compile(r"[!-~]{1,512}")


def read_users(path: Path) -> Mapping[str, User]:
    """The users by name, in the file's order. Raises `Fault` if the file cannot be read or an entry is wrong."""
    try:
        tables = read_toml(path)
    except Fault as fault:
        raise Fault("%(name)s %(fault)s", path, fault.sentence) from None
    return {name: _user(path, name, table) for name, table in tables.items()}


def mode_fault(path: Path) -> Sentence | None:
    """The fault in the permissions of the file; None if the permissions are right. Raises OSError if there is no
    file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & (stat.S_IRWXO | stat.S_IWGRP):
        return None
    return _("%(what)s: %(do)s", _("%(path)s is for others, too", path), _("chmod 600 %(path)s", path))


@contextmanager
def editing(path: Path) -> Iterator[dict[str, User]]:
    """A context whose value is the users, by name. The caller changes this mapping. At the end of the context the users
    are written to the file, unless an exception ends the context.

    No other program edits the file meanwhile. Raises `Fault` as `read_users` does, and OSError if the file cannot be
    written.
    """
    path = path.resolve()
    lock = path.with_name(f".{path.name}.lock")
    lock.touch(0o600)
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        users = dict(read_users(path)) if path.exists() else {}
        yield users
        _replace(path, _text(users.values()))


def _user(path: Path, name: str, table: object) -> User:
    shown = repr(name[:64])
    if not isinstance(table, dict):
        raise Fault("%(path)s has the key %(key)s outside of any user's table", path, shown)
    if fault := actor_fault(name):
        raise Fault("%(path)s has a user %(name)s, which %(fault)s", path, shown, fault)
    if unknown := sorted(table.keys() - _KEYS):
        raise Fault("%(path)s has a user %(name)s with the unknown key %(key)r", path, shown, unknown[0][:64])
    password, role = table.get("password"), table.get("role")
    if not isinstance(password, str) or not _HASH.fullmatch(password):
        raise Fault(
            "%(file)s has a user %(who)s without a hashed password: `reconciler user password` sets one", path, shown
        )
    if role not in tuple(Role):
        raise Fault("%(path)s has a user %(name)s whose role is not one of %(names)s", path, shown, ", ".join(Role))
    return User(name=name, password_hash=password, role=Role(role))


def _text(users: Iterable[User]) -> str:
    # A JSON string is also a TOML string.
    tables = (
        f"\n[{json.dumps(user.name, ensure_ascii=False)}]\n"
        f"password = {json.dumps(user.password_hash)}\nrole = {json.dumps(user.role.value)}\n"
        for user in users
    )
    return _HEAD + "".join(tables)


def _replace(path: Path, text: str) -> None:
    """Replace the file by a new one with the same owner."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            _keep_owner(path, file.fileno())
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _keep_owner(path: Path, number: int) -> None:
    # Give the new file the owner and the group of the old file, and the old file's permissions as far as they are safe.
    # mkstemp made the new file with the mode 0600 and the person who edits as its owner. But the web program may run as
    # another user, and must be able to read the file.
    with suppress(OSError):
        old = path.stat()
        os.fchown(number, old.st_uid, old.st_gid)
        os.fchmod(number, stat.S_IMODE(old.st_mode) & 0o640)
