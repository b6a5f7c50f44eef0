"""What the settings accept, and the message where they refuse."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

import worker
from tests.contract.platform.raw_server import CERTIFICATE
from tests.unit.settings.given import ACCOUNT, TOKEN, Given, accounts_file, secret_file
from worker.domain.wire.query_request import Credentials
from worker.settings import PREFIX, VARIABLES, AccountsFile, Settings, SettingsError, load_settings

ROOT = Path(worker.__file__).parents[1]
LOOPBACK = "http://127.0.0.1:8080"


def test_dot_env_is_read_and_the_environment_wins(given: Given) -> None:
    Path(".env").write_text("RECONCILER_BATCH_SIZE=7\nRECONCILER_LOG_LEVEL=debug\nOTHER=1\n")
    settings = given.settings(BATCH_SIZE="8")
    assert settings.batch_size == 8
    assert settings.log_level == "DEBUG"


def test_empty_variable_counts_as_not_set(given: Given) -> None:
    assert given.settings(BATCH_SIZE="", ACCOUNT_SID="", RESULT_BACKEND="").batch_size == 100


def test_keyword_arguments_read_neither_environment_nor_dot_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_BATCH_SIZE", "0")
    Path(".env").write_text("RECONCILER_TICK_SECONDS=never\n")
    assert Settings(_env_file=None, batch_size=3).batch_size == 3
    with pytest.raises(ValidationError):
        Settings(no_such_setting=1)


def test_nothing_is_read_at_import() -> None:
    environment = {**os.environ, "RECONCILER_BATCH_SIZE": "0"}
    subprocess.run([sys.executable, "-c", "import worker.settings"], check=True, env=environment, cwd=ROOT)


def test_dot_env_that_is_no_text_is_reported() -> None:
    Path(".env").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load_settings()


DURATIONS = [name.upper() for name in Settings.model_fields if name.endswith("_seconds")]


@pytest.mark.parametrize("name", DURATIONS)
def test_fractions_of_a_second_are_accepted_down_to_a_twentieth(given: Given, name: str) -> None:
    assert getattr(given.settings({"PLATFORM_URL": LOOPBACK, name: "0.05"}), name.lower()) == 0.05


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", ["0", "0.049", "-1", "nan", "inf", "60s", "六十秒", "31536001", "1e999"])
def test_wrong_duration_is_refused_with_name_value_and_range(given: Given, name: str, value: str) -> None:
    message = given.fault({"PLATFORM_URL": LOOPBACK, name: value})
    assert message.startswith(f"RECONCILER_{name} is ")
    assert f"('{value}'); accepted: seconds from 0.05 to 31536000" in message


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("BATCH_SIZE", "0", "is too small ('0'); accepted: a whole number from 1 to 100"),
        ("BATCH_SIZE", "101", "is too large ('101'); accepted: a whole number from 1 to 100"),
        ("BATCH_SIZE", "1.5", "is not a whole number ('1.5'); accepted: a whole number from 1 to 100"),
        ("BATCH_SIZE", "many", "is not a whole number ('many'); accepted: a whole number from 1 to 100"),
        ("QUERIES_PER_WINDOW", "0", "is too small ('0'); accepted: a whole number from 1 to 1000"),
        ("PLATFORM_BRACKETED_IDS", "maybe", "is neither true nor false ('maybe'); accepted: true or false"),
        ("LOG_FORMAT", "xml", "is none of the accepted words ('xml'); accepted: console or json"),
        (
            "LOG_LEVEL",
            "LOUD",
            "is none of the accepted words ('LOUD'); accepted: DEBUG, INFO, WARNING, ERROR or CRITICAL",
        ),
        ("PLATFORM_TIMEZONE", "Asia/Nowhere", "is not a known time zone ('Asia/Nowhere'); accepted: an IANA time zone"),
        ("PLATFORM_TIMEZONE", "Asia", "is not a known time zone ('Asia'); accepted: an IANA time zone"),
        ("PLATFORM_TIMEZONE", "../etc/passwd", "is not a known time zone"),
        (
            "PLATFORM_VERSION",
            "2015/12",
            "has characters that are not accepted, or too many ('2015/12'); accepted: 1 to",
        ),
        ("PLATFORM_VERSION", "..", "has characters that are not accepted"),
        ("FAILED_AMOUNT", "free", "is none of the accepted words ('free'); accepted: charged or echoed"),
    ],
)
def test_wrong_value_is_reported_with_its_fault_and_the_accepted_range(
    given: Given, name: str, value: str, fault: str
) -> None:
    assert given.fault({name: value}).startswith(f"RECONCILER_{name} {fault}")


def test_several_faults_are_in_one_message_a_line_each(given: Given) -> None:
    wrong = {"BATCH_SIZE": "0", "TICK_SECONDS": "x", "DATABASE_URL": "oracle://h/d", "ACCOUNTS_FILE": "missing.toml"}
    named = [fault.split()[0].removeprefix("RECONCILER_") for fault in given.faults(wrong, APP_ID="a")]
    assert named == ["DATABASE_URL", "APP_ID", "ACCOUNTS_FILE", "BATCH_SIZE", "TICK_SECONDS"]


def test_long_value_is_cut_and_control_characters_are_escaped(given: Given) -> None:
    message = given.fault(BATCH_SIZE="\x1b[2J\n" + "9" * 5000 + "x")
    assert len(message) < 250
    assert message.isprintable()
    assert r"('6\x7f')" in given.fault(BATCH_SIZE="6\x7f")


# ---------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        ("database", "postgresql://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("database", "postgresql+psycopg:///d?host=/run/postgresql", None),
        ("database", "postgresql://[::1]:5432/d", "postgresql+psycopg://[::1]:5432/d"),
        ("database", "postgresql://u:p/a#s?s%40@h/d", "postgresql+psycopg://u:p/a#s?s%40@h/d"),
        ("database", "mysql://u:p@h/d", "mysql+pymysql://u:p@h/d?charset=utf8mb4"),
        ("database", "mariadb://u:p@h/d?ssl_ca=x", "mariadb+pymysql://u:p@h/d?ssl_ca=x&charset=utf8mb4"),
        ("database", "mariadb+pymysql://u@h/d?charset=utf8mb4", None),
        ("database", "sqlite:///reconciler.db", None),
        ("database", "sqlite+pysqlite:////var/lib/a b.db", "sqlite:////var/lib/a b.db"),
        ("broker", "redis://h", None),
        ("broker", "rediss://:p@h:6380/1", None),
        ("broker", "redis+socket:///run/r.sock", None),
        ("broker", "amqp://u:p@h//", None),
        ("broker", "amqps://h;amqps://g", None),
        ("result", "redis://:p@h/1", None),
        ("result", "rpc://", None),
        ("platform", "http://sandbox.ytx.net/", "http://sandbox.ytx.net"),
        ("platform", "https://proxy.example:8443/ytx/", "https://proxy.example:8443/ytx"),
        ("platform", "http://[::1]:80", None),
    ],
)
def test_a_url_names_its_driver_and_ends_without_a_slash(
    given: Given, name: str, value: str, normal: str | None
) -> None:
    settings = given.settings({"RESULT_BACKEND" if name == "result" else f"{name.upper()}_URL": value})
    read = settings.platform_url if name == "platform" else getattr(settings, f"{name}_dsn")
    assert read == (normal or value)


WRONG_URLS = {
    "DATABASE_URL": [
        *("hunter2secret", "oracle://u:hunter2secret@h/d", "postgresql+psycopg2://u:hunter2secret@h/d"),
        *("postgresql://u:hunter2secret@h:port/d", "postgresql://u:hunter2secret@h@h/d", "mysql://u:hunter2secret@h"),
        *("mysql://u:hunter2secret@h/d?charset=latin1", "postgresql://u:hunter2secret@h/d\n"),
        *("sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"),
    ],
    "BROKER_URL": [
        *("hunter2secret", "sqs://hunter2secret@h", "redis://h:hunter2secret/0", "redis:h", "redis://h 1"),
    ],
    "RESULT_BACKEND": ["s3://hunter2secret", "db+sqlite:///hunter2secret"],
    "PLATFORM_URL": [
        *("api.ytx.net", "ftp://api.ytx.net", "http://", "http://api.ytx.net:99999", "http://api.ytx.net/a b"),
        *("http://user:hunter2secret@api.ytx.net", "http://api.ytx.net?key=hunter2secret"),
        *("http://api.ytx.net/#hunter2secret", "http://127.0.0.1\\@api.ytx.net"),
        *("http://[::1", "http://a,b", "http://h/é", "http://h/a;b"),
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG_URLS.items() for value in values])
def test_a_wrong_url_is_refused_with_what_is_accepted_and_without_being_shown(
    given: Given, name: str, value: str
) -> None:
    message = given.fault({name: value})
    assert message.startswith(f"RECONCILER_{name} ")
    assert f"; accepted: {Settings.model_fields[name.lower()].description}" in message
    assert "hunter2secret" not in message


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.200.3.4", "[::1]"])
def test_window_under_a_minute_is_accepted_on_loopback(given: Given, host: str) -> None:
    assert given.settings(PLATFORM_URL=f"http://{host}:8080", QUERY_WINDOW_SECONDS="0.5").query_window_seconds == 0.5


@pytest.mark.parametrize(
    "host", ["api.ytx.net", "10.0.0.1", "0.0.0.0", "127.1", "localhost.example.com", "[::2]", "[::ffff:127.0.0.1]"]
)
def test_window_under_a_minute_is_refused_elsewhere(given: Given, host: str) -> None:
    message = given.fault(PLATFORM_URL=f"http://{host}", QUERY_WINDOW_SECONDS="59.9")
    assert message.startswith("RECONCILER_QUERY_WINDOW_SECONDS is under 60 while the host of RECONCILER_PLATFORM_URL")


# ------------------------------------------------------------------------------------------------------------ secrets


FILED = {
    "DATABASE_URL": "postgresql://u:database-pw@h/d",
    "BROKER_URL": "redis://:broker-pw@h/0",
    "RESULT_BACKEND": "redis://:result-pw@h/1",
    "AUTH_TOKEN": TOKEN,
}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_may_come_from_a_file_and_a_line_end_is_dropped(given: Given, end: str) -> None:
    files = {f"{name}_FILE": secret_file(value + end, name=name) for name, value in FILED.items()}
    settings = given.settings({**files, "ACCOUNT_SID": "abcdef", "APP_ID": "app1"})
    assert settings.database_dsn == "postgresql+psycopg://u:database-pw@h/d"
    assert (settings.broker_dsn, settings.result_dsn) == (FILED["BROKER_URL"], FILED["RESULT_BACKEND"])
    assert settings.accounts["default"].auth_token == TOKEN
    assert set(settings.secrets) == {TOKEN, "database-pw", "broker-pw", "result-pw"}
    assert settings.warnings == ()


def test_the_variables_that_name_files_are_those_of_the_secrets() -> None:
    of_files = {name.removeprefix(PREFIX).removesuffix("_FILE") for name in VARIABLES[len(Settings.model_fields) :]}
    # Those of notifications, callbacks and metrics are tested in test_notify.py and test_callbacks.py.
    assert of_files == {*FILED, "NOTIFY_URL", "NOTIFY_SECRET", "NOTIFY_BROKER_URL", "CALLBACK_TOKEN", "METRICS_TOKEN"}


def test_dot_env_may_name_the_file_of_a_secret(given: Given) -> None:
    Path(".env").write_text(f"RECONCILER_DATABASE_URL_FILE={secret_file(FILED['DATABASE_URL'])}\n")
    assert "database-pw" in given.settings().database_dsn
    assert given.settings().warnings == ()


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_secret_that_is_given_twice_is_refused(given: Given, where: str) -> None:
    if where == ".env":
        Path(".env").write_text(f"RECONCILER_AUTH_TOKEN={TOKEN}\n")
    own = {"ACCOUNT_SID": "abcdef", "APP_ID": "app1"} if where == ".env" else ACCOUNT
    fault = given.fault({**own, "AUTH_TOKEN_FILE": secret_file(TOKEN)})
    assert fault.startswith("RECONCILER_AUTH_TOKEN_FILE is set, and so is the setting itself: keep one of the two")
    assert TOKEN not in fault


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "is empty"),
        ("\n", "is empty"),
        (b"\xff\xfe" + TOKEN.encode(), "is not UTF-8 text"),
        (TOKEN * 3000, "has more than 64 KiB"),
    ],
)
def test_a_file_of_a_secret_that_is_of_no_use_is_reported_without_its_content(
    given: Given, content: str | bytes | None, said: str
) -> None:
    # Somebody may give the secret itself where its file's name belongs.
    path = TOKEN if content is None else secret_file(content)
    fault = given.fault({**ACCOUNT, "AUTH_TOKEN": "", "AUTH_TOKEN_FILE": path})
    assert fault.startswith("RECONCILER_AUTH_TOKEN_FILE names a file")
    assert said in fault
    assert TOKEN not in fault


@pytest.mark.parametrize(
    ("name", "content"), [*((name, "hunter2 secret") for name in FILED), ("AUTH_TOKEN", "hunter2\n\n")]
)
def test_a_wrong_content_is_refused_without_being_shown(given: Given, name: str, content: str) -> None:
    # Of the line ends only the last one is dropped.
    own = {**ACCOUNT, "AUTH_TOKEN": ""} if name == "AUTH_TOKEN" else {}
    fault = given.fault({**own, f"{name}_FILE": secret_file(content)})
    assert fault.startswith(f"RECONCILER_{name} (from RECONCILER_{name}_FILE) ")
    assert "hunter2" not in fault


def test_the_token_of_an_account_may_stand_in_a_file_beside_the_file_of_accounts(given: Given, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    text = '[north]\naccount_sid="s"\nauth_token_file="north-token"\napp_id="a"\n'
    file = accounts_file(text, name="etc/accounts.toml")
    secret_file(f"{TOKEN}\n", mode=0o644, name="etc/north-token")
    settings = given.settings(ACCOUNTS_FILE=file)
    assert settings.accounts["north"].auth_token == TOKEN
    assert settings.secrets[0] == TOKEN
    (warning,) = settings.warnings
    assert warning.startswith("etc/north-token holds a secret and can be read")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            'auth_token="t"\nauth_token_file="secret"',
            "whose auth_token_file is set, and so is the setting itself: keep one of the two",
        ),
        ("auth_token_file=1", "whose auth_token_file is not a string"),
        (f'auth_token_file="{TOKEN}"', "whose auth_token_file names a file that cannot be read (No such file"),
        ('auth_token_file="secret"', "whose auth_token has characters that are not accepted"),
    ],
)
def test_a_wrong_token_file_of_an_account_is_reported_without_its_content(given: Given, line: str, fault: str) -> None:
    secret_file("hunter2 secret")
    message = given.fault(ACCOUNTS_FILE=accounts_file(f'[north]\naccount_sid="s"\napp_id="a"\n{line}\n'))
    assert message.startswith(f"RECONCILER_ACCOUNTS_FILE has an account 'north' {fault}")
    assert TOKEN not in message
    assert "hunter2" not in message


def test_no_secret_is_shown_by_repr_str_or_dump(given: Given) -> None:
    settings = given.settings(
        ACCOUNT,
        DATABASE_URL="postgresql://u:database-pw@h/d",
        BROKER_URL="redis://:broker-pw@h/0",
        RESULT_BACKEND="redis://:result%20pw@h/1",
        ACCOUNTS_FILE=accounts_file('[north]\naccount_sid="s"\nauth_token="north-token"\napp_id="a"\n'),
    )
    for text in (repr(settings), str(settings), repr(settings.accounts), repr(settings.model_dump())):
        for secret in (TOKEN, "database-pw", "broker-pw", "result%20pw", "north-token"):
            assert secret not in text
    assert set(settings.secrets) == {TOKEN, "north-token", "database-pw", "broker-pw", "result%20pw", "result pw"}


@pytest.mark.parametrize("token", ["with space " + TOKEN, TOKEN * 9, "é" + TOKEN, TOKEN + "\n"])
def test_wrong_token_is_refused_without_being_shown(given: Given, token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        given.settings({**ACCOUNT, "AUTH_TOKEN": token})
    assert str(caught.value).startswith("RECONCILER_AUTH_TOKEN has characters that are not accepted, or too many;")
    assert TOKEN not in str(caught.value)
    assert caught.value.__context__ is None, "a traceback must not carry the value along"


# ----------------------------------------------------------------------------------------------------------- accounts


def test_account_of_the_environment_is_the_default(given: Given) -> None:
    settings = given.settings(ACCOUNT)
    credentials = Credentials(account_sid="abcdef", auth_token=TOKEN, app_id="app1")
    assert dict(settings.accounts) == {"default": credentials}
    assert settings.require_accounts() == settings.accounts


def test_no_account_is_reported_where_one_is_needed(given: Given) -> None:
    settings = given.settings()
    assert not settings.accounts
    with pytest.raises(SettingsError, match="no account is configured: set RECONCILER_ACCOUNT_SID"):
        settings.require_accounts()


@pytest.mark.parametrize("missing", ACCOUNT)
def test_the_three_credentials_go_together(given: Given, missing: str) -> None:
    faults = given.faults({name: value for name, value in ACCOUNT.items() if name != missing})
    assert any(missing in fault and "RECONCILER_ACCOUNT_SID" in fault for fault in faults)
    assert all("all of RECONCILER_ACCOUNT_SID, RECONCILER_AUTH_TOKEN and RECONCILER_APP_ID" in f for f in faults)


@pytest.mark.parametrize("sid", ["a|b", "a/b", "a?b", "a%2Fb", "a b", "..", "a" * 65, "账户"])
def test_sid_that_would_change_the_request_is_refused(given: Given, sid: str) -> None:
    message = given.fault({**ACCOUNT, "ACCOUNT_SID": sid})
    assert "_SID has characters that are not accepted, or too many; accepted: 1 to 64" in message


def test_accounts_of_the_file_follow_the_default_in_the_file_s_order(given: Given) -> None:
    text = "".join(
        f'["{name}"]\naccount_sid="abcdef"\nauth_token="{TOKEN}"\napp_id="{name}"\n' for name in ("z", "北", "a")
    )
    settings = given.settings(ACCOUNT, ACCOUNTS_FILE=accounts_file(text))
    assert list(settings.accounts) == ["default", "z", "北", "a"]
    assert settings.accounts["北"] == Credentials(account_sid="abcdef", auth_token=TOKEN, app_id="北")
    assert settings.warnings == ()
    assert isinstance(settings.accounts_file, AccountsFile)


@pytest.mark.parametrize(
    ("variable", "echoing"), [("echoed", {"default", "north"}), ("charged", {"north"}), ("", {"north"})]
)
def test_an_account_may_say_for_itself_what_an_amount_beside_a_failure_means(
    given: Given, variable: str, echoing: set[str]
) -> None:
    text = "".join(
        f'[{name}]\naccount_sid="abcdef"\nauth_token="{TOKEN}"\napp_id="{name}"\nfailed_amount="{word}"\n'
        for name, word in (("north", "echoed"), ("south", "charged"))
    )
    settings = given.settings(ACCOUNT, ACCOUNTS_FILE=accounts_file(text), FAILED_AMOUNT=variable)
    assert settings.echoing_accounts == echoing


def test_the_default_account_may_be_in_the_file_but_not_in_the_environment_as_well(given: Given) -> None:
    text = f'[default]\naccount_sid="s"\nauth_token="{TOKEN}"\napp_id="a"\n'
    assert list(given.settings(ACCOUNTS_FILE=accounts_file(text)).accounts) == ["default"]
    message = given.fault(ACCOUNT, ACCOUNTS_FILE=accounts_file(text))
    assert "has an account 'default', which RECONCILER_ACCOUNT_SID configures already" in message


@pytest.mark.parametrize("own", [ACCOUNT, {}])
def test_two_accounts_with_the_same_sid_and_app_id_are_refused(given: Given, own: Mapping[str, str]) -> None:
    names = ("north",) if own else ("north", "south")
    text = "".join(f'[{name}]\naccount_sid="abcdef"\nauth_token="{TOKEN}"\napp_id="app1"\n' for name in names)
    message = given.fault(own, ACCOUNTS_FILE=accounts_file(text))
    assert "the same: they share the account SID and the app id" in message
    assert TOKEN not in message


NORTH = '[north]\naccount_sid="s"\nauth_token="t"\napp_id="a"\n'
OF_NORTH = "has an account 'north'"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (NORTH.replace('auth_token="t"\n', ""), f"{OF_NORTH} that lacks auth_token"),
        (NORTH.replace('"s"', "1"), f"{OF_NORTH} whose account_sid is not a string"),
        (NORTH.replace('"s"', '"s|"'), f"{OF_NORTH} whose account_sid has characters"),
        (NORTH.replace('"t"', '""'), f"{OF_NORTH} whose auth_token is empty"),
        (NORTH.replace('"a"', '"a,b"'), f"{OF_NORTH} whose app_id contains ','"),
        (f'{NORTH}url="x"', f"{OF_NORTH} with the unknown key 'url'"),
        (f'{NORTH}failed_amount="free"', f"{OF_NORTH} whose failed_amount is not charged or echoed"),
        (f"{NORTH}failed_amount=1", f"{OF_NORTH} whose failed_amount is not charged or echoed"),
        (f'{NORTH}failed_amount=["echoed"]', f"{OF_NORTH} whose failed_amount is not charged or echoed"),
        (NORTH.replace("[north]", '["a b"]'), "has an account 'a b' whose name contains ' '"),
        (f'auth_token="{TOKEN}"', "has the key 'auth_token' outside of any account's table"),
        (f"auth_token={TOKEN}\n", "names a file that is not valid TOML (at line 1"),
        ("[a]\n[a]\n", "names a file that is not valid TOML (at line 2"),
    ],
)
def test_wrong_accounts_file_is_reported_without_showing_a_value(given: Given, text: str, fault: str) -> None:
    message = given.fault(ACCOUNTS_FILE=accounts_file(text))
    assert message.startswith(f"RECONCILER_ACCOUNTS_FILE {fault}")
    assert "('accounts.toml'); accepted: a TOML file with one table per account" in message
    assert TOKEN not in message


def test_several_faults_of_the_accounts_file_are_a_line_each(given: Given) -> None:
    assert len(given.faults(ACCOUNTS_FILE=accounts_file("[north]\n[south]\n"))) == 6


def test_authorities_of_the_platform_are_checked_when_the_settings_are_read(given: Given) -> None:
    assert given.settings(PLATFORM_CA_FILE=str(CERTIFICATE)).platform_ca_file == str(CERTIFICATE)
    missing = given.fault(PLATFORM_CA_FILE="missing.pem")
    assert missing.startswith("RECONCILER_PLATFORM_CA_FILE cannot be read (No such file or directory) ('missing.pem')")
    assert missing.endswith("accepted: a file of one or more certificates in PEM form")
    Path("empty.pem").touch()
    Path("key.pem").write_text(CERTIFICATE.read_text().partition("-----END CERTIFICATE-----\n")[2])
    for name in ("empty.pem", "key.pem"):
        assert "holds no certificate that can be read" in given.fault(PLATFORM_CA_FILE=name)
    assert "cannot be read (Is a directory)" in given.fault(PLATFORM_CA_FILE=".")


def test_accounts_file_that_cannot_be_read_is_reported(given: Given) -> None:
    assert "cannot be read (No such file or directory)" in given.fault(ACCOUNTS_FILE="missing.toml")
    assert "cannot be read (Is a directory)" in given.fault(ACCOUNTS_FILE=".")
    Path("binary.toml").write_bytes(b"\xff")
    assert "is not UTF-8 text" in given.fault(ACCOUNTS_FILE="binary.toml")
    Path("large.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    assert "more than 1024 KiB" in given.fault(ACCOUNTS_FILE="large.toml")


def test_files_with_secrets_that_everybody_can_read_are_warnings(given: Given) -> None:
    secret, accounts = secret_file(FILED["BROKER_URL"], mode=0o644), accounts_file("", mode=0o644)
    assert sorted(given.settings(BROKER_URL_FILE=secret, ACCOUNTS_FILE=accounts).warnings) == [
        "accounts.toml holds auth tokens and can be read by every user of this machine: chmod 600 accounts.toml",
        "secret holds a secret and can be read by every user of this machine: chmod 600 secret",
    ]


@pytest.mark.parametrize(
    "line",
    ["RECONCILER_BROKER_URL=redis://:sesame-street@127.0.0.1/0", "POSTGRES_PASSWORD=sesame-street", "A_TOKEN=x"],
)
def test_an_env_file_with_secrets_that_everybody_can_read_is_a_warning(given: Given, line: str) -> None:
    file = Path(".env")
    file.write_text(f"{line}\n")
    file.chmod(0o604)
    assert given.settings().warnings == (
        ".env holds passwords or tokens and can be read by every user of this machine: chmod 600 .env",
    )
    file.chmod(0o640)
    assert given.settings().warnings == ()


def test_an_env_file_without_secrets_may_be_read_by_everybody(given: Given) -> None:
    Path(".env").write_text("RECONCILER_AUTH_TOKEN=\nRECONCILER_BROKER_URL=redis://127.0.0.1:6379/0\n")
    Path(".env").chmod(0o644)
    assert given.settings().warnings == ()


def test_unknown_variable_is_a_warning_that_names_the_nearest(given: Given) -> None:
    Path(".env").write_text("RECONCILER_TICK_SECOND=2\n")
    settings = given.settings(BATCHSIZE="5", COFFEE="1", TEST_POSTGRES_URL="postgresql://h/d")
    assert settings.warnings == (
        "RECONCILER_BATCHSIZE is set, but there is no such setting; did you mean RECONCILER_BATCH_SIZE?",
        "RECONCILER_COFFEE is set, but there is no such setting",
        "RECONCILER_TICK_SECOND is set, but there is no such setting; did you mean RECONCILER_TICK_SECONDS?",
    )


# -------------------------------------------------------------------------------------------------------- .env.example


def test_env_example_lists_exactly_the_settings_with_their_defaults() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    listed = dict(re.findall(r"^#?(RECONCILER_[A-Z_]+)=(.*)$", text, re.MULTILINE))
    defaults = Settings()
    of_files = VARIABLES[len(Settings.model_fields) :]
    assert [name for name in listed if name in of_files] == list(of_files)
    assert [name for name in listed if name not in of_files] == [
        f"{PREFIX}{name.upper()}" for name in Settings.model_fields
    ]
    for name, value in listed.items():
        field = name.removeprefix(PREFIX).lower()
        default = None if name in of_files else getattr(defaults, field)
        assert f"\n{'#' if default is None else ''}{name}=" in text, f"{name} is commented out if it has no default"
        assert default is None or getattr(Settings(**{field: value}), field) == default


def test_env_example_works_as_it_stands() -> None:
    settings = load_settings(ROOT / ".env.example")
    assert dict(settings) == dict(Settings())
    assert settings.warnings == ()


def test_env_example_has_no_value_that_podman_reads_otherwise() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    for value in re.findall(r"^#?[A-Z_]+=(.*)$", text, re.MULTILINE):
        # It takes quotes, and a comment after the value, for parts of it.
        assert not re.search(r"""['"$]|\s#|^\s|\s$""", value)


def test_env_example_gives_the_unit_of_every_duration() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    for block in text.split("\n\n"):
        if re.search(r"^#?RECONCILER_\w+_SECONDS=", block, re.MULTILINE):
            assert "Seconds" in block
