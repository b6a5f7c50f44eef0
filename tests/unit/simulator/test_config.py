from pathlib import Path

import pytest

from worker.simulator.config import Account, AccountsError, SimulatorConfig, accounts_from_environment, parse_account
from worker.simulator.platform import Platform

SET = {"RECONCILER_ACCOUNT_SID": "sid", "RECONCILER_AUTH_TOKEN": "token", "RECONCILER_APP_ID": "app"}
ACCOUNT = Account(sid="sid", auth_token="token", app_id="app")


def test_the_account_is_read_from_the_environment() -> None:
    assert accounts_from_environment(SET) == (ACCOUNT,)


def test_more_accounts_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text('[north]\naccount_sid = "s2"\nauth_token = "t2"\napp_id = "a2"\n', encoding="utf-8")
    accounts = accounts_from_environment(SET | {"RECONCILER_ACCOUNTS_FILE": str(path)})
    assert [account.sid for account in accounts] == ["sid", "s2"]


def test_a_token_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token\n")
    path = tmp_path / "accounts.toml"
    path.write_text('[north]\naccount_sid = "s2"\nauth_token_file = "token"\napp_id = "a2"\n', encoding="utf-8")
    environment = SET | {"RECONCILER_AUTH_TOKEN": "", "RECONCILER_AUTH_TOKEN_FILE": str(token)}
    accounts = accounts_from_environment(environment | {"RECONCILER_ACCOUNTS_FILE": str(path)})
    assert accounts == (ACCOUNT, Account(sid="s2", auth_token="token", app_id="a2"))
    token.unlink()
    with pytest.raises(AccountsError, match="RECONCILER_AUTH_TOKEN_FILE: the file cannot be read"):
        accounts_from_environment(environment)


@pytest.mark.parametrize("content", ['[north]\naccount_sid = "s2"\n', "north = 1\n", "[north\n"])
def test_a_file_that_is_incomplete_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AccountsError, match="RECONCILER_ACCOUNTS_FILE"):
        accounts_from_environment({"RECONCILER_ACCOUNTS_FILE": str(path)})


def test_no_account_at_all_is_refused_with_what_to_set() -> None:
    with pytest.raises(AccountsError, match="set RECONCILER_ACCOUNT_SID"):
        accounts_from_environment({})


def test_an_incomplete_account_is_refused_without_showing_its_token() -> None:
    with pytest.raises(AccountsError, match="set RECONCILER_APP_ID too") as refused:
        accounts_from_environment(SET | {"RECONCILER_APP_ID": ""})
    assert SET["RECONCILER_AUTH_TOKEN"] not in str(refused.value).replace("RECONCILER_AUTH_TOKEN", "")


def test_an_account_is_read_from_an_argument() -> None:
    assert parse_account("sid:token:app") == ACCOUNT
    with pytest.raises(AccountsError, match="SID:TOKEN:APPID"):
        parse_account("sid:token")


def test_a_token_is_not_shown() -> None:
    assert "token'" not in repr(ACCOUNT)


@pytest.mark.parametrize(
    "other",
    [Account(sid="sid", auth_token="another", app_id="b"), Account(sid="s2", auth_token="t2", app_id="app")],
)
def test_accounts_that_contradict_each_other_are_refused(other: Account) -> None:
    with pytest.raises(AccountsError):
        Platform(SimulatorConfig(accounts=(ACCOUNT, other)))
