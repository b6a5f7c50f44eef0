"""`callback-url`, and what `serve` says before it serves."""

import re
import socket
from pathlib import Path

import pytest

from tests.support.command_line import ACCOUNT, CommandLine
from worker.domain.tokens_and_sign_ins import read_tokens

TOKEN, OTHER = "a" * 24, "b" * 24
PATH = re.compile(r"/callbacks/([^/]+)/([^/\n]+)\n")


def test_an_account_with_tokens_gets_the_paths_of_these() -> None:
    result = CommandLine({**ACCOUNT, "RECONCILER_CALLBACK_TOKEN": f"{TOKEN} {OTHER}"}).run("callback-url")
    assert result.stdout == f"/callbacks/default/{TOKEN}\n/callbacks/default/{OTHER}\n"
    assert result.stderr == ""


def test_an_account_without_a_token_gets_one_to_copy() -> None:
    result = CommandLine().run("callback-url")
    found = PATH.fullmatch(result.stdout)
    assert found
    assert found[1] == "default"
    assert read_tokens(found[2]) == (found[2],)
    assert f"once RECONCILER_CALLBACK_TOKEN is {found[2]}, and" in result.stderr
    assert CommandLine().run("callback-url").stdout != result.stdout


def test_the_token_of_an_account_of_the_file_goes_into_its_table(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[shop]\naccount_sid = "s"\nauth_token = "t"\napp_id = "app-2"\n')
    accounts.chmod(0o600)
    cli = CommandLine({**ACCOUNT, "RECONCILER_ACCOUNTS_FILE": str(accounts)})
    result = cli.run("callback-url", "shop")
    found = PATH.fullmatch(result.stdout)
    assert found
    assert found[1] == "shop"
    assert f"once callback_token in the table [shop] of the accounts file is {found[2]}, and" in result.stderr


def test_an_account_that_is_not_configured_has_no_path() -> None:
    assert "there is no account shop" in CommandLine().error("callback-url", "shop")


@pytest.mark.parametrize("missing", ["nothing.db", "sub/nothing.db"])
def test_serve_needs_a_database_that_is_migrated(missing: str, tmp_path: Path) -> None:
    cli = CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": f"sqlite:///{tmp_path / missing}"})
    assert "run `reconciler migrate`" in cli.error("serve")


@pytest.mark.parametrize("options", [("--port", "70000"), ("--workers", "0"), ("--only", "everything")])
def test_serve_that_is_used_wrongly_says_so(options: tuple[str, ...]) -> None:
    assert options[0] in CommandLine().error("serve", *options, status=2)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_in_use_is_one_line_at_once(host: str, migrated_database_url: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        port = str(taken.getsockname()[1])
        settings = {**ACCOUNT, "RECONCILER_DATABASE_URL": migrated_database_url}
        error = CommandLine(settings).error("serve", "--host", host, "--port", port)
    assert error == f"cannot listen on {host}, port {port}: Address already in use; choose another --host or --port"
