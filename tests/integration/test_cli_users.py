"""`reconciler user`: the people who may sign in at the console."""

import os
import pty
import stat
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, CommandLine, environment
from worker.adapters.users_file import editing, read_users
from worker.domain.records.operators import Role, User
from worker.web.users import is_right

PASSWORD = "correct horse battery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.toml"


@pytest.fixture
def cli(path: Path) -> CommandLine:
    return CommandLine({**ACCOUNT, "RECONCILER_USERS_FILE": str(path)})


def test_a_user_is_added_listed_changed_and_removed(cli: CommandLine, path: Path) -> None:
    added = cli.run("user", "add", "王 芳", "--role", "act", stdin=f"{PASSWORD}\n")
    assert (added.stdout, added.stderr) == ("", "王 芳 can sign in, and may look at everything, and act.\n")
    cli.run("user", "add", "li", "--role", "read", stdin=f"{PASSWORD}\r\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli.json("user", "list") == [{"name": "王 芳", "role": "act"}, {"name": "li", "role": "read"}]
    assert "li" in cli.run("user", "list").stdout
    before = read_users(path)
    assert is_right(before["li"].password_hash, PASSWORD)
    assert before["li"].password_hash.startswith("scrypt:32768:8:3$")
    cli.run("user", "password", "li", stdin="another password\n")
    assert is_right(read_users(path)["li"].password_hash, "another password")
    cli.run("user", "role", "li", "--role", "act")
    assert read_users(path)["li"].role is Role.ACT
    cli.run("user", "remove", "王 芳")
    assert list(read_users(path)) == ["li"]
    assert PASSWORD not in path.read_text("utf-8")


def test_a_name_that_is_there_or_is_none_and_a_short_password_are_refused(cli: CommandLine, path: Path) -> None:
    cli.run("user", "add", "li", "--role", "read", stdin=f"{PASSWORD}\n")
    before = path.read_bytes()
    assert "there is a user li already" in cli.error("user", "add", "li", "--role", "act", stdin=f"{PASSWORD}\n")
    assert "12 to 1,000 characters" in cli.error("user", "add", "ann", "--role", "act", stdin="short\n")
    assert "12 to 1,000 characters" in cli.error("user", "add", "ann", "--role", "act", stdin="")
    assert "12 to 1,000 characters" in cli.error("user", "password", "li", stdin="with\x1bcontrol characters\n")
    assert "is no name" in cli.error("user", "add", " li", "--role", "act", stdin=f"{PASSWORD}\n", status=2)
    assert "there is no user ann; the file names: li" in cli.error("user", "remove", "ann")
    assert "there is no user ann" in cli.error("user", "role", "ann", "--role", "act")
    assert "'boss'" in cli.error("user", "role", "li", "--role", "boss", status=2)
    assert path.read_bytes() == before


def test_without_the_setting_it_says_which_one() -> None:
    assert "RECONCILER_USERS_FILE is not set" in CommandLine().error("user", "list")


def test_before_the_first_user_the_list_says_how_to_add_one(cli: CommandLine) -> None:
    assert cli.json("user", "list") == []
    assert "`reconciler user add` adds one" in cli.run("user", "list").stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[li", "is not valid TOML"),
        ("li = 1", "has the key 'li' outside of any user's table"),
        ('[li]\nrole = "act"', "without a hashed password"),
        ('[li]\npassword = "with a blank"\nrole = "act"', "without a hashed password"),
        ('[li]\npassword = "scrypt:hash"\nrole = "boss"', "whose role is not one of read, act"),
        ('[li]\npassword = "scrypt:hash"\nrole = "act"\nnmae = "x"', "with the unknown key 'nmae'"),
        ('[" li"]\npassword = "scrypt:hash"\nrole = "act"', "is no name"),
        ("#" * (1 << 20) + "\n", "has more than 1024 KiB"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_fault_and_left_alone(
    text: str, said: str, cli: CommandLine, path: Path
) -> None:
    path.write_text(text)
    for arguments in (("list",), ("add", "ann", "--role", "act")):
        fault = cli.error("user", *arguments, stdin=f"{PASSWORD}\n")
        assert str(path) in fault
        assert said in fault
        assert "scrypt" not in fault
    assert path.read_text() == text


def test_a_file_keeps_its_owner_and_what_its_group_may(cli: CommandLine, path: Path) -> None:
    cli.run("user", "add", "li", "--role", "read", stdin=f"{PASSWORD}\n")
    path.chmod(0o644)
    link = path.with_name("link.toml")
    link.symlink_to(path)
    with editing(link) as users:
        users["ann"] = User(name="ann", password_hash="scrypt:x", role=Role.ACT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert list(tomllib.loads(path.read_text())) == ["li", "ann"]


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    cli = CommandLine({**ACCOUNT, "RECONCILER_USERS_FILE": str(tmp_path / "nowhere" / "users.toml")})
    assert "cannot be written (No such file or directory)" in cli.error(
        "user", "add", "li", "--role", "read", stdin=f"{PASSWORD}\n"
    )


def test_users_that_are_added_at_once_are_all_there(path: Path) -> None:
    def add(number: int) -> None:
        with editing(path) as users:
            users[f"user-{number}"] = User(name=f"user-{number}", password_hash="scrypt:x", role=Role.READ)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert len(read_users(path)) == 40
    assert sorted(os.listdir(path.parent)) == [".users.toml.lock", "users.toml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "status", "said"), [(PASSWORD, 0, "can sign in"), ("another one", 1, "the two differ")]
)
def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    second: str, status: int, said: str, path: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "user", "add", "li", "--role", "read"]
    settings = environment({**ACCOUNT, "RECONCILER_USERS_FILE": str(path)})
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings, cwd=tmp_path, start_new_session=True
    ) as program:
        os.close(theirs)
        shown = read_until(ours, "Password (12 to 1,000 characters, no control character): ")
        os.write(ours, f"{PASSWORD}\n".encode())
        shown += read_until(ours, "Once more: ")
        os.write(ours, f"{second}\n".encode())
        shown += read_until(ours, said)
        assert program.wait(timeout=60) == status
    os.close(ours)
    assert PASSWORD not in shown
    assert path.exists() is (status == 0)


def read_until(terminal: int, text: str) -> str:
    """What a program writes, up to a text."""
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 1024).decode()
    return shown
