"""`reconciler user`: the users who may sign in at the console."""

import getpass
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from worker.adapters.safe_text import one_line
from worker.adapters.text_files import os_words
from worker.adapters.users_file import editing, read_users
from worker.cli.acts import read_actor
from worker.cli.app import CommandError
from worker.cli.declare import new_group
from worker.cli.output import (
    AsJson,
    console,
    print_json,
    print_table,
    say,
)
from worker.cli.session import read_settings, web_packages
from worker.domain.records.operators import Role, User
from worker.domain.records.sentences import Fault, _
from worker.domain.tokens_and_sign_ins import PASSWORD_RULE, password_fault

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The user; acts are recorded under this name.", callback=read_actor)
]
RoleOption = Annotated[
    Role, typer.Option("--role", help="`read`: to look at everything; `act`: to change things as well.")
]


def add(name: Name, role: RoleOption) -> None:
    """Add a user. The command asks for the password twice; without a terminal, it reads a line of standard input.

    Examples:
      reconciler user add ann --role act
      reconciler user add li --role read < password.txt
    """
    if name in _users():
        raise _is_there(name)
    added = User(name=name, password_hash=_ask_for_password(), role=role)
    with _editing() as users:
        # While the password was typed, somebody else may have added the user.
        if name in users:
            raise _is_there(name)
        users[name] = added
    say("%(name)s can sign in, and may look at everything%(acts)s.", name, _may_act(role), err=True)


def list_users(as_json: AsJson = False) -> None:
    """List the users with their roles.

    Examples:
      reconciler user list
      reconciler user list --json
    """
    rows = [{"name": one.name, "role": one.role.value} for one in _users().values()]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(console(), ("name", "role"), rows, ids=("name",))
    else:
        say("There is no user yet: `reconciler user add` adds one.", err=True)


def password(name: Name) -> None:
    """Give a user a new password, which ends their sign-ins. The command asks for it as `user add` does.

    Examples:
      reconciler user password ann
    """
    _known(_users(), name)
    password_hash = _ask_for_password()
    with _editing() as users:
        users[name] = replace(_known(users, name), password_hash=password_hash)
    say("%(name)s has another password, and has to sign in again.", name, err=True)


def change_role(name: Name, role: RoleOption) -> None:
    """Give a user another role, which applies from their next page on.

    Examples:
      reconciler user role li --role act
    """
    with _editing() as users:
        users[name] = replace(_known(users, name), role=role)
    say("%(name)s may look at everything%(acts)s.", name, _may_act(role), err=True)


def remove(name: Name) -> None:
    """Remove a user, which ends their sign-ins. Their acts stay recorded.

    Examples:
      reconciler user remove li
    """
    with _editing() as users:
        del users[_known(users, name).name]
    say("%(name)s cannot sign in any more.", name, err=True)


def _may_act(role: Role) -> str:
    return _(", and act") if role is Role.ACT else ""


def _path() -> Path:
    path = read_settings().users_file
    if path is None:
        raise CommandError(
            "RECONCILER_USERS_FILE is not set: it names the file that holds the users, such as"
            " /etc/reconciler/users.toml"
        )
    return path


def _users() -> Mapping[str, User]:
    path = _path()
    try:
        return read_users(path) if path.exists() else {}
    except Fault as fault:
        raise CommandError("%(why)s", fault.sentence) from None


@contextmanager
def _editing() -> Iterator[dict[str, User]]:
    path = _path()
    try:
        with editing(path) as users:
            yield users
    except Fault as fault:
        raise CommandError("%(why)s", fault.sentence) from None
    except OSError as error:
        raise CommandError("%(path)s cannot be written (%(why)s)", path, os_words(error)) from None


def _known(users: Mapping[str, User], name: str) -> User:
    if name not in users:
        raise CommandError(
            "there is no user %(name)s; the file names: %(names)s", one_line(name), ", ".join(users) or _("none")
        )
    return users[name]


def _is_there(name: str) -> CommandError:
    return CommandError("there is a user %(name)s already: `user password` and `user role` change it", one_line(name))


def _ask_for_password() -> str:
    """Ask for a password and return its hash. Raises CommandError if the password breaks the rule for passwords, or if
    the second entry differs from the first."""
    with web_packages():
        from worker.web.users import hash_of
    given = _from_terminal() if sys.stdin.isatty() else sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if fault := password_fault(given):
        raise CommandError("the password %(fault)s", fault)
    return hash_of(given)


def _from_terminal() -> str:
    given = getpass.getpass(f"Password ({PASSWORD_RULE}): ")
    if not password_fault(given) and getpass.getpass("Once more: ") != given:
        raise CommandError("the two differ: nothing was changed")
    return given


def user() -> None:
    """Manage the users who may sign in at the console: add, list, password, role, remove.

    Examples:
      reconciler user add ann --role act
      reconciler user list
    """


app = new_group(
    user,
    {"add": add, "list": list_users, "password": password, "role": change_role, "remove": remove},
    no_args_is_help=True,
)
