"""Who may look at the console, as the doctor finds it."""

from pathlib import Path

from tests.support.visitors import write_users
from worker.doctor.files_and_hosts import console_check
from worker.doctor.finding import Status


def test_without_a_file_of_users_the_console_opens_by_a_key() -> None:
    check = console_check(None)
    assert (check.status, "key" in check.detail) == (Status.OK, True)


def test_the_users_of_a_file_are_counted(tmp_path: Path) -> None:
    check = console_check(write_users(tmp_path / "users.toml"))
    assert (check.status, check.detail) == (Status.OK, "everybody signs in: 2 users")


def test_a_file_by_which_no_user_signs_in_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    assert console_check(file).status is Status.WARNING
    file.write_text("")
    assert (console_check(file).status, "reconciler user add" in str(console_check(file))) == (Status.WARNING, True)
    file.write_text("no TOML")
    assert "not valid TOML" in console_check(file).detail


def test_a_file_that_others_may_read_is_a_warning_with_the_command(tmp_path: Path) -> None:
    file = write_users(tmp_path / "users.toml")
    file.chmod(0o644)
    check = console_check(file)
    assert (check.status, check.remedy) == (Status.WARNING, f"chmod 600 {file}")
