"""The finding about who may look at the console of `reconciler serve`."""

from pathlib import Path

from worker.adapters.users_file import mode_fault, read_users
from worker.doctor.checks import Check, ok, warning

_NAME = "console"


def console_check(users_file: Path | None) -> Check:
    """Who opens it: people who sign in, or who have the key that `serve` prints."""
    if users_file is None:
        return ok(_NAME, "no file of users: it opens by the address with a key that `reconciler serve` prints")
    try:
        users, fault = read_users(users_file), mode_fault(users_file)
    except ValueError as error:
        return warning(_NAME, f"no user can sign in: {error}", "correct the file of RECONCILER_USERS_FILE")
    if not users:
        return warning(_NAME, f"no user can sign in: {users_file} has none", "add one with `reconciler user add`")
    if fault:
        detail, _, remedy = fault.rpartition(": ")
        return warning(_NAME, detail, remedy)
    return ok(_NAME, f"everybody signs in: {'1 user' if len(users) == 1 else f'{len(users)} users'}")
