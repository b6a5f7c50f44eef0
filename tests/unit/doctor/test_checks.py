"""A finding as it is shown, and what a reading means."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.adapters.safe_text import Redactor
from worker.doctor import checks
from worker.doctor.finding import Status, warning
from worker.domain.records.accounts import DatabaseChanges
from worker.domain.records.monitoring import WorkerRow
from worker.domain.records.sentences import Sentence
from worker.domain.wire.query_request import Credentials

SID, TOKEN = "abcdefghijklmnopqrstuvwxyz012345", "0123456789abcdef0123456789abcdef"
APP_ID = "cbc6ceb21fd34664b6e452ca2aa40b3f"


def account(sid: str = SID, token: str = TOKEN, app_id: str = APP_ID) -> dict[str, Credentials]:
    return {"shop": Credentials(account_sid=sid, auth_token=token, app_id=app_id)}


@pytest.mark.parametrize(
    ("ahead", "told"),
    [(1.0, ""), (-1.0, ""), (-1.7, "1.700 s behind"), (1.001, "1.001 s ahead of")],
)
def test_a_clock_that_is_off_by_more_than_a_second_is_a_warning_that_says_which_way(ahead: float, told: str) -> None:
    check = checks.clock(ahead)
    assert check.status is (Status.WARNING if told else Status.OK)
    assert check.detail.startswith(f"{told} this host's clock" if told else "1.000 s")


@pytest.mark.parametrize(
    ("name", "safe", "unsafe"),
    [
        ("fsync", ["on"], [Sentence("off"), None]),
        ("synchronous_commit", ["on", "remote_apply", "local", "remote_write"], [Sentence("off"), None]),
        ("innodb_flush_log_at_trx_commit", ["1", "3"], ["0", "2", None]),
    ],
)
def test_what_a_crash_may_cost_is_a_warning(name: str, safe: list[str], unsafe: list[str | None]) -> None:
    for value in (*safe, *unsafe):
        (check,) = checks.durability({name: value})
        assert (check.name, check.status) == (name, Status.OK if value in safe else Status.WARNING)
        assert check.detail.startswith(value or "could not be read")
        assert ("single server" in check.detail) == (value in ("local", "remote_write"))
        assert (check.remedy is None) == (value in safe)


@pytest.mark.parametrize(
    ("encoding", "status"), [("UTF8", Status.OK), ("SQL_ASCII", Status.FATAL), ("EUC_CN", Status.FATAL)]
)
def test_a_database_holds_every_text_in_utf_8_alone(encoding: str, status: Status) -> None:
    check = checks.encoding(encoding)
    assert (check.status, check.detail.partition(":")[0]) == (status, encoding)


@pytest.mark.parametrize(("kept", "status"), [(True, Status.OK), (False, Status.WARNING), (None, Status.SKIPPED)])
def test_a_session_that_is_lent_for_a_transaction_is_a_warning(kept: bool | None, status: Status) -> None:
    assert checks.sessions(kept).status is status


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("maxmemory_policy", "noeviction", ""),
        ("maxmemory_policy", "allkeys-random", "allkeys-random: when its memory is full, orders"),
        ("maxmemory_policy", "volatile-ttl", "volatile-ttl: when its memory is full, answers"),
        ("default_queue", 1, "1 message waits in Celery's default queue, celery"),
        ("default_queue", 4000, "4,000 messages wait in Celery's default queue, celery"),
    ],
)
def test_what_a_broker_loses_or_does_not_tell_is_a_warning(name: str, value: object, told: str) -> None:
    check = checks.of_broker(name, value, "no permission")
    assert (check.status, check.remedy is None) == ((Status.WARNING, False) if told else (Status.OK, True))
    assert check.detail.startswith(told)


@pytest.mark.parametrize(
    ("accounts", "told"),
    [
        (account(sid=SID[:-1]), "the account SID of account 'shop' is not 32 letters and digits"),
        (account(app_id="my application"), "the app id of account 'shop' is not 32 letters and digits"),
        (account(token="your-auth-token"), "the auth token of account 'shop' is no token"),
        (account(token=APP_ID), "the auth token of account 'shop' is no token"),
    ],
)
def test_credentials_of_another_form_are_a_warning_that_shows_no_token(
    accounts: dict[str, Credentials], told: str
) -> None:
    (check,) = checks.credentials(accounts, are_platforms=True)
    assert check.status is Status.WARNING
    assert check.detail.startswith(told)
    assert accounts["shop"].auth_token not in str(check)


def test_a_simulated_platform_takes_credentials_of_any_form() -> None:
    (check,) = checks.credentials(account(sid="demo-sid", app_id="demo-app"), are_platforms=False)
    assert check.status is Status.OK


def test_what_is_shown_holds_no_secret_and_no_control_character() -> None:
    found = warning(
        "broker",
        Sentence("%(words)s", "it said\n'\x1b[2Jsesame-street'"),
        Sentence("open %(gate)s", "sesame-street"),
    )
    check = found.shown_with(Redactor(["sesame-street"]))
    assert (check.detail, check.remedy) == (r"it said '\x1b[2J***'", "open ***")


@pytest.mark.parametrize(
    ("minutes", "status"),
    [((), Status.OK), ((5,), Status.WARNING), ((40, 20, 5), Status.FATAL), ((65, 20, 5), Status.WARNING)],
)
def test_a_third_change_of_the_database_within_an_hour_is_an_error(minutes: tuple[int, ...], status: Status) -> None:
    now = datetime(2016, 1, 31, 10, tzinfo=UTC)
    changes = tuple(now - timedelta(minutes=ago) for ago in minutes)
    assert checks.identity(DatabaseChanges(now=now, changes=changes)).status is status
    assert checks.identity(None).status is Status.SKIPPED


def worker(version: str | None, host: str = "a") -> WorkerRow:
    time = datetime(2016, 1, 31, 10, tzinfo=UTC)
    return WorkerRow(
        name="",
        host=host,
        pid=1,
        started_at=time,
        last_tick_at=time,
        written_at=time,
        clock_offset_seconds=0.0,
        accounts=None,
        version=version,
    )


def test_workers_of_another_version_are_a_warning_that_names_their_hosts() -> None:
    assert checks.versions("2.0.0", [worker("2.0.0")]).status is Status.OK
    assert checks.versions("2.0.0", []).status is Status.OK
    assert checks.versions("2.0.0", None).status is Status.SKIPPED
    found = checks.versions("2.0.0", [worker("2.0.0"), worker("2.0.0.dev7", "b"), worker(None, "c")])
    assert found.status is Status.WARNING
    assert found.detail == "this program is 2.0.0, and workers run another version (b: 2.0.0.dev7, c: ?)"
