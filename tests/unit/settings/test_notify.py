"""The settings of notifications: what an endpoint is, what is refused, and that no secret is shown."""

import base64
from pathlib import Path

import pytest

from tests.contract.platform.raw_server import CERTIFICATE
from tests.unit.settings.given import ACCOUNT, Given, accounts_file, secret_file
from worker.domain.records.notifications import CeleryTask, EventType, TransportKind, Webhook

SECRET = "whsec_" + base64.b64encode(b"\xfb" * 24).decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"\xfa" * 64).decode()
URL = "https://billing.example.com:8443/hooks/path-secret?key=query-secret"
WEBHOOK = {**ACCOUNT, "NOTIFY_URL": URL, "NOTIFY_SECRET": SECRET}
TABLE = '[north]\naccount_sid="s"\nauth_token="t"\napp_id="a"\n'


def test_no_notification_is_sent_by_default(given: Given) -> None:
    assert given.settings(ACCOUNT).endpoints == {}


def test_the_variables_are_those_of_the_default_account_alone(given: Given) -> None:
    settings = given.settings(WEBHOOK, ACCOUNTS_FILE=accounts_file(TABLE))
    (endpoint,) = settings.endpoints.values()
    assert (endpoint.account, endpoint.events) == ("default", ())
    assert endpoint.target == Webhook(url=URL, secrets=(SECRET,))
    row = endpoint.as_endpoint()
    assert (row.transport, row.shown, row.events) == (TransportKind.WEBHOOK, "https://billing.example.com:8443", None)
    assert len(row.target_digest) == 64


def test_two_secrets_are_accepted_while_one_is_being_changed(given: Given) -> None:
    target = given.settings(WEBHOOK, NOTIFY_SECRET=f"{SECRET}  {NEXT_SECRET}").endpoints["default"].target
    assert isinstance(target, Webhook)
    assert target.secrets == (SECRET, NEXT_SECRET)


def test_a_task_has_celery_s_own_queue_and_our_broker_by_default(given: Given) -> None:
    plain = given.settings(ACCOUNT, NOTIFY_TASK="billing.told").endpoints["default"]
    assert plain.target == CeleryTask(task="billing.told", queue="celery")
    assert plain.as_endpoint().shown == "task billing.told on queue celery"
    broker = "amqp://u:broker-pw@h/b"
    settings = given.settings(NOTIFY_QUEUE="bills", NOTIFY_BROKER_URL=broker)
    other = settings.endpoints["default"].target
    assert other == CeleryTask(task="billing.told", queue="bills", broker_url=broker)
    assert other.digest != plain.target.digest
    assert "broker-pw" in settings.secrets


def test_only_some_events_may_be_wanted(given: Given) -> None:
    endpoint = given.settings(WEBHOOK, NOTIFY_EVENTS="order.failed, order.succeeded,order.failed").endpoints["default"]
    assert endpoint.events == (EventType.FAILED, EventType.SUCCEEDED)
    assert endpoint.as_endpoint().takes(EventType.FAILED)
    assert not endpoint.as_endpoint().takes(EventType.REOPENED)


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"NOTIFY_TASK": "billing.told"}, "NOTIFY_TASK is set, and so is RECONCILER_NOTIFY_URL: keep one of the two"),
        ({"NOTIFY_URL": "https://user:hunter2@h/"}, "NOTIFY_URL holds a user name or a password"),
        ({"NOTIFY_URL": "https://h/#hunter2"}, "NOTIFY_URL holds a fragment"),
        ({"NOTIFY_URL": "ftp://hunter2/"}, "NOTIFY_URL is neither an http nor an https URL"),
        ({"NOTIFY_URL": "https:///hunter2"}, "NOTIFY_URL has no valid host"),
        ({"NOTIFY_URL": "http://hunter2.example/"}, "NOTIFY_URL is an http URL beyond this machine"),
        ({"NOTIFY_SECRET": ""}, "NOTIFY_SECRET is not set, though RECONCILER_NOTIFY_URL is"),
        ({"NOTIFY_SECRET": "hunter2"}, "NOTIFY_SECRET holds a secret that does not begin with whsec_"),
        ({"NOTIFY_SECRET": "whsec_hunter2=="}, "NOTIFY_SECRET holds a secret that is not padded base64"),
        ({"NOTIFY_SECRET": SECRET[:-4] + "hun"}, "NOTIFY_SECRET holds a secret that is not padded base64"),
        (
            {"NOTIFY_SECRET": "whsec_aHVudGVyMg=="},
            "NOTIFY_SECRET holds a secret of fewer than 24 or more than 64 bytes",
        ),
        ({"NOTIFY_SECRET": f"{SECRET} {SECRET} {SECRET}"}, "NOTIFY_SECRET is neither one secret nor two"),
        ({"NOTIFY_EVENTS": "order.succeeded,order.lost"}, "NOTIFY_EVENTS names an event that there is not"),
        ({"NOTIFY_QUEUE": "bills"}, "NOTIFY_QUEUE is set, though RECONCILER_NOTIFY_TASK is not"),
        ({"NOTIFY_BROKER_URL": "redis://hunter2"}, "NOTIFY_BROKER_URL is set, though RECONCILER_NOTIFY_TASK is not"),
        ({"NOTIFY_CA_FILE": "no-such-file"}, "NOTIFY_CA_FILE "),
        ({"NOTIFY_KEEP_DAYS": "0"}, "NOTIFY_KEEP_DAYS is too small"),
    ],
)
def test_a_wrong_endpoint_is_refused_without_being_shown(given: Given, variables: dict[str, str], fault: str) -> None:
    message = given.fault({**WEBHOOK, **variables})
    assert message.startswith(f"RECONCILER_{fault}")
    for secret in ("hunter2", SECRET, "path-secret"):
        assert secret not in message


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"NOTIFY_TASK": "reconciler.enqueue_order"}, "NOTIFY_TASK begins with reconciler., as the worker's own do"),
        ({"NOTIFY_TASK": "a b"}, "NOTIFY_TASK has characters that are not accepted"),
        ({"NOTIFY_TASK": "t", "NOTIFY_QUEUE": "reconciler.orders"}, "NOTIFY_QUEUE begins with reconciler."),
        ({"NOTIFY_SECRET": SECRET}, "NOTIFY_SECRET is set, though RECONCILER_NOTIFY_URL is not"),
        ({"NOTIFY_EVENTS": "order.failed"}, "NOTIFY_EVENTS is set, though neither RECONCILER_NOTIFY_URL nor"),
        (
            {"NOTIFY_TASK": "t", "NOTIFY_CA_FILE": str(CERTIFICATE)},
            "NOTIFY_CA_FILE is set, though RECONCILER_NOTIFY_URL",
        ),
        (
            {"NOTIFY_TASK": "t", "ACCOUNT_SID": "", "AUTH_TOKEN": "", "APP_ID": ""},
            "NOTIFY_TASK is set, though RECONCILER_ACCOUNT_SID is not",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(given: Given, variables: dict[str, str], fault: str) -> None:
    assert given.fault({**ACCOUNT, **variables}).startswith(f"RECONCILER_{fault}")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:80"])
def test_http_is_accepted_on_this_machine(given: Given, host: str) -> None:
    assert given.settings(WEBHOOK, NOTIFY_URL=f"http://{host}/").endpoints


def test_http_is_accepted_elsewhere_where_it_is_allowed(given: Given) -> None:
    settings = given.settings(WEBHOOK, NOTIFY_URL="http://billing.lan/", NOTIFY_ALLOW_HTTP="true")
    target = settings.endpoints["default"].target
    assert isinstance(target, Webhook)
    assert target.allow_http


def test_a_table_of_the_file_has_its_own_endpoint_and_secrets_in_files(given: Given, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    secret_file(f"{NEXT_SECRET}\n", name="etc/north-secret")
    (tmp_path / "etc" / "ca.pem").write_bytes(Path(CERTIFICATE).read_bytes())
    lines = 'notify_url="http://billing.lan/"\nnotify_secret_file="north-secret"\nnotify_allow_http=true\n'
    text = f'{TABLE}{lines}notify_events="order.failed"\nnotify_ca_file="ca.pem"\n'
    settings = given.settings(WEBHOOK, ACCOUNTS_FILE=accounts_file(text, name="etc/accounts.toml"))
    assert list(settings.endpoints) == ["default", "north"]
    assert settings.endpoints["north"].target == Webhook(
        url="http://billing.lan/", secrets=(NEXT_SECRET,), allow_http=True, ca_file="etc/ca.pem"
    )
    assert settings.endpoints["north"].events == (EventType.FAILED,)
    assert NEXT_SECRET in settings.secrets


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('notify_url="https://h/hunter2"', "whose notify_secret is not set, though notify_url is"),
        ('notify_url="http://h/hunter2"\nnotify_secret_file="secret"', "whose notify_url is an http URL beyond"),
        ('notify_task="t"\nnotify_allow_http="yes"', "whose notify_allow_http is neither true nor false"),
        ("notify_task=1", "whose notify_task is not a string"),
        ('notify_task="reconciler.hunter2"', "whose notify_task begins with reconciler."),
        ('notify_broker_url_file="secret"\nnotify_task="t"', "whose notify_broker_url is not a URL"),
        ("notify_keep_days=3", "with the unknown key 'notify_keep_days'"),
    ],
)
def test_a_wrong_endpoint_of_the_file_is_refused_without_being_shown(given: Given, lines: str, fault: str) -> None:
    secret_file(SECRET)
    message = given.fault(ACCOUNTS_FILE=accounts_file(f"{TABLE}{lines}\n"))
    assert message.startswith(f"RECONCILER_ACCOUNTS_FILE has an account 'north' {fault}")
    assert "hunter2" not in message
    assert SECRET not in message


def test_url_secret_and_broker_may_come_from_files(given: Given) -> None:
    files = {
        "NOTIFY_URL_FILE": secret_file(f"{URL}\n", name="url"),
        "NOTIFY_SECRET_FILE": secret_file(f"{SECRET}\n", name="secret"),
    }
    assert given.settings({**ACCOUNT, **files}).endpoints["default"].target == Webhook(url=URL, secrets=(SECRET,))
    broker = {"NOTIFY_TASK": "t", "NOTIFY_BROKER_URL_FILE": secret_file("redis://:pw@h/1", name="broker")}
    settings = given.settings({**ACCOUNT, **dict.fromkeys(files, ""), **broker})
    assert settings.endpoints["default"].target == CeleryTask(task="t", queue="celery", broker_url="redis://:pw@h/1")


def test_no_secret_of_an_endpoint_is_shown(given: Given) -> None:
    table = f'{TABLE}notify_task="t"\nnotify_broker_url="redis://:broker-pw@h/0"\n'
    settings = given.settings(WEBHOOK, NOTIFY_SECRET=f"{SECRET} {NEXT_SECRET}", ACCOUNTS_FILE=accounts_file(table))
    hidden = [SECRET, NEXT_SECRET, SECRET.removeprefix("whsec_"), "broker-pw", URL]
    assert set(hidden) <= set(settings.secrets)
    rows = [one.as_endpoint() for one in settings.endpoints.values()]
    dumps = settings.model_dump(), settings.model_dump_json()
    for text in map(repr, (settings, settings.endpoints, settings.accounts_file, *dumps, rows)):
        for secret in (*hidden, "path-secret", "query-secret"):
            assert secret not in text
