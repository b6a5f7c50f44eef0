"""The settings of what answers over HTTP: variables, and keys in the file of accounts."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.unit.settings.given import Given, accounts_file, secret_file
from worker.domain.records.incoming import Trust

TOKEN, OTHER, THIRD = "a" * 24, "b" * 30, "c" * 40
ACCOUNT = {"ACCOUNT_SID": "s" * 32, "AUTH_TOKEN": "the-auth-token", "APP_ID": "app-1"}
NORTH = '[north]\naccount_sid = "north-sid"\nauth_token = "north-auth"\napp_id = "app-2"\n'


def file_with(*lines: str) -> str:
    return accounts_file(NORTH + "\n".join(lines))


def test_each_account_has_its_own_tokens(given: Given) -> None:
    accounts = file_with(f'callback_token = "{THIRD}"')
    settings = given.settings(ACCOUNT, CALLBACK_TOKEN=f"{TOKEN} {OTHER}", ACCOUNTS_FILE=accounts)
    assert settings.callback_tokens == {"default": (TOKEN, OTHER), "north": (THIRD,)}
    assert {TOKEN, OTHER, THIRD} <= set(settings.secrets)
    assert not [token for token in (TOKEN, OTHER, THIRD) if token in repr(settings)]


def test_an_account_of_the_file_inherits_no_token(given: Given) -> None:
    settings = given.settings(ACCOUNT, CALLBACK_TOKEN=TOKEN, ACCOUNTS_FILE=file_with())
    assert settings.callback_tokens == {"default": (TOKEN,)}


def test_tokens_may_come_from_files(given: Given) -> None:
    own = secret_file(f"{TOKEN}\n", name="own")
    accounts = file_with(f'callback_token_file = "{secret_file(OTHER, name="theirs")}"')
    settings = given.settings(ACCOUNT, CALLBACK_TOKEN_FILE=own, ACCOUNTS_FILE=accounts)
    assert settings.callback_tokens == {"default": (TOKEN,), "north": (OTHER,)}


def test_the_other_settings_are_read(given: Given) -> None:
    settings = given.settings(
        CALLBACK_TRUST="CHECK", CALLBACK_ALLOW="10.0.0.0/8, ::1", CALLBACK_REPLY="ok", TRUSTED_PROXIES="2"
    )
    assert settings.callback_trust is Trust.CHECK
    assert settings.callback_allow == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert (settings.callback_reply, settings.trusted_proxies) == ("ok", 2)


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({**ACCOUNT, "CALLBACK_TOKEN": "a" * 23}, "RECONCILER_CALLBACK_TOKEN holds a token that is too short"),
        ({**ACCOUNT, "CALLBACK_TOKEN": f"{TOKEN} {OTHER} {THIRD}"}, "RECONCILER_CALLBACK_TOKEN holds 3 tokens"),
        ({"CALLBACK_TOKEN": TOKEN}, "RECONCILER_CALLBACK_TOKEN is set, though RECONCILER_ACCOUNT_SID is not"),
        ({"CALLBACK_TRUST": "always"}, "RECONCILER_CALLBACK_TRUST is none of the accepted words ('always')"),
        ({"CALLBACK_ALLOW": "everybody"}, "RECONCILER_CALLBACK_ALLOW holds a word that is neither an address"),
        ({"CALLBACK_REPLY": "成功"}, "RECONCILER_CALLBACK_REPLY has characters that are not accepted"),
        ({"TRUSTED_PROXIES": "11"}, "RECONCILER_TRUSTED_PROXIES is too large"),
    ],
)
def test_what_is_wrong_is_named_without_a_token(given: Given, variables: dict[str, str], fault: str) -> None:
    said = given.fault(variables)
    assert said.startswith(fault)
    assert not [token for token in ("a" * 23, TOKEN, OTHER, THIRD) if token in said]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("callback_token = 5", "whose callback_token is not a string"),
        ('callback_token = "short"', "whose callback_token holds a token that is too short"),
        (f'callback_token = "{TOKEN}"\ncallback_token_file = "x"', "whose callback_token_file is set, and so is"),
        ('callback_token_file = "nowhere"', "whose callback_token_file names a file that cannot be read"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(given: Given, line: str, fault: str) -> None:
    said = given.fault(ACCOUNTS_FILE=file_with(line))
    assert f"has an account 'north' {fault}" in said
    assert TOKEN not in said


def test_who_may_read_metrics_is_read(given: Given) -> None:
    tokens = secret_file(f"{TOKEN} {OTHER}\n")
    settings = given.settings(METRICS_TOKEN_FILE=tokens, METRICS_ALLOW="10.0.0.0/8", USERS_FILE="/etc/users.toml")
    assert settings.metrics_tokens == (TOKEN, OTHER)
    assert {TOKEN, OTHER} <= set(settings.secrets)
    assert TOKEN not in repr(settings)
    assert settings.metrics_allow == (ip_network("10.0.0.0/8"),)
    assert settings.users_file == Path("/etc/users.toml")
    assert "RECONCILER_METRICS_TOKEN" in given.fault(METRICS_TOKEN="short", METRICS_TOKEN_FILE="")


def test_without_them_no_other_host_reads_metrics(given: Given) -> None:
    settings = given.settings()
    assert (settings.metrics_tokens, settings.metrics_allow, settings.users_file) == ((), None, None)
