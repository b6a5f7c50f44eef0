"""Worker, serve, console and commands run as the documented role, which reads and writes rows and no more."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
import sqlalchemy

import worker
from tests.support.command_line import CommandLine
from tests.support.console import hidden_fields
from tests.support.plain_role import PlainRole, least_role, plain_role
from tests.support.processes import (
    ACCOUNT,
    environment,
    running_beat,
    running_platform,
    running_serve,
    running_worker,
    send_tasks,
)
from tests.support.raw_query import write_control
from tests.support.servers import EmbeddedValkey
from tests.support.sql import column_of, execute
from tests.support.visitors import ACTOR, PASSWORD, write_users
from tests.support.waiting import eventually
from worker.database.migrations import upgrade
from worker.database.revisions import revisions
from worker.database.rights import read_missing_rights

pytestmark = pytest.mark.slow

DOCUMENT = (Path(worker.__file__).parents[1] / "docs/deployment.md").read_text("utf-8")
WINDOW = 1.0
TOKEN = "a-token-of-the-account-1"
FAST = {
    "query_window_seconds": WINDOW,
    "query_margin_seconds": 0.05,
    "request_deadline_seconds": 4,
    "connect_timeout_seconds": 0.5,
    "callback_grace_seconds": 0.05,
    "tick_seconds": 0.1,
}


def documented_grants(server: str, role: PlainRole) -> list[str]:
    """The statements of the document for a server, for this role and this database."""
    section = DOCUMENT.partition("### A role that may not change tables")[2].partition("\n## ")[0]
    (text,) = re.findall(rf"^{server}[^\n]* <<'SQL'\n(.*?)^SQL$", section, re.MULTILINE | re.DOTALL)
    text = text.replace("reconciler_app", "{role}").replace("ROLE reconciler ", f"ROLE {role.owner.url.username} ")
    text = text.replace("reconciler.*", f"{role.owner.url.database}.*")
    statements = [one.strip() for one in text.split(";") if one.strip()]
    # The login itself has been made.
    assert statements[0].startswith("CREATE ")
    return statements[1:]


@pytest.fixture
def role(database_url: str) -> Iterator[PlainRole]:
    """The documented role: the grants are older than the last migration."""
    upgrade(database_url, revisions()[-3])
    with plain_role(database_url) as role:
        role.execute(*documented_grants("psql" if role.owner.dialect.name == "postgresql" else "mariadb", role))
        upgrade(database_url)
        yield role


@pytest.mark.databases("postgresql", "mariadb")
def test_the_documented_role_has_every_right_that_the_doctor_asks_for_and_changes_no_table(role: PlainRole) -> None:
    assert read_missing_rights(role.url).rights == {}
    for statement in ("CREATE TABLE ours (id integer)", "DROP TABLE operator_acts", "TRUNCATE TABLE operator_acts"):
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            execute(role.url, statement)


@pytest.mark.databases("postgresql", "mariadb")
def test_worker_serve_console_and_commands_run_with_those_rights_alone(
    migrated_database_url: str, own_valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    with least_role(migrated_database_url) as role:
        run_everything(role, own_valkey.url, tmp_path)


def run_everything(role: PlainRole, broker: str, folder: Path) -> None:
    with running_platform(environment(), folder, "--window", str(WINDOW), "--no-adopt") as platform:
        settings = {
            **FAST,
            "database_url": role.url,
            "broker_url": broker,
            "platform_url": platform,
            "callback_token": TOKEN,
            "users_file": write_users(folder / "users.toml"),
        }
        cli = CommandLine({**ACCOUNT, **{f"RECONCILER_{name.upper()}": str(value) for name, value in settings.items()}})
        found = {check["name"]: check["status"] for check in cli.json("doctor")}
        assert (found["database_rights"], "fatal" in found.values()) == ("ok", False)
        env = environment(**settings, log_format="json")
        with running_worker(env, folder) as program, running_beat(env, folder), running_serve(env, folder) as (_, url):
            reconcile(platform, broker, cli)
            call_back(url, cli)
            act_at_the_console(url, cli)
            use_commands(cli, folder)
            archive_and_purge(role, cli)
            assert program.stop() == 0
    assert "database_rights" not in program.output
    assert '"level": "error"' not in program.output


def reconcile(platform: str, broker: str, cli: CommandLine) -> None:
    """Orders that come by a task are settled by the platform's answer; one is cancelled, one stays pending."""
    orders = [
        {
            "request_id": f"r{number}",
            "mobile": f"1881234080{number}",
            "amount": "2.94",
            "outcome": "1",
            "settle_after": 0,
        }
        for number in range(3)
    ]
    assert write_control(platform, "orders", {"orders": orders}).status == 200
    sent = [{"request_id": order["request_id"], "mobile": order["mobile"]} for order in orders]
    later = [{"request_id": name, "mobile": "18812340899"} for name in ("late1", "late2", "gone")]
    send_tasks(
        broker,
        ("reconciler.enqueue_orders", [[*sent[:2], {"request_id": "bad id"}]]),
        ("reconciler.enqueue_order", [sent[2]]),
        ("reconciler.enqueue_orders", [later]),
    )
    eventually(lambda: "gone" in states(cli), "an order to cancel")
    send_tasks(broker, ("reconciler.cancel_orders", [[{"account": "default", "request_id": "gone"}]]))
    eventually(lambda: states(cli).get("r0") == states(cli).get("r2") == "succeeded", "settled orders")
    eventually(lambda: states(cli).get("gone") == "cancelled", "the cancellation")


def states(cli: CommandLine) -> dict[str, str]:
    return {one["request_id"]: one["state"] for one in cli.json("orders")}


def call_back(url: str, cli: CommandLine) -> None:
    opener = build_opener()
    for name, amount in (("late1", "5.00"), ("unknown", "1.00")):
        body = {"requestId": name, "trafficSts": "1", "oriAmount": amount, "mobile": "188****0899"}
        request = Request(f"{url}/callbacks/default/{TOKEN}", json.dumps(body).encode())
        with opener.open(request, timeout=20) as answer:
            assert answer.status == 200
    for path in ("/readyz", "/healthz", "/metrics"):
        with opener.open(url + path, timeout=20) as answer:
            assert answer.status == 200
    assert states(cli)["late1"] == "succeeded"
    assert Decimal(next(one for one in cli.json("orders") if one["request_id"] == "late1")["ori_amount"]) == 5


def act_at_the_console(url: str, cli: CommandLine) -> None:
    opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(path: str) -> str:
        with opener.open(url + path, timeout=20) as answer:
            return str(answer.read().decode())

    def post(path: str, **typed: str) -> str:
        form = urlencode({**hidden_fields(get(path)), **typed}).encode()
        with opener.open(url + path, form, timeout=20) as answer:
            return str(answer.read().decode())

    with pytest.raises(HTTPError):
        post("/sign-in", name=ACTOR, password="wrong")
    assert ACTOR in post("/sign-in", name=ACTOR, password=PASSWORD)
    for path in ("/", "/orders", "/attention", "/notifications", "/queries", "/rejected", "/unmatched", "/acts"):
        assert get(path)
    # A poll between the page and its form would have the act refused.
    cli.run("pause", "default", "--reason", "a test")
    order = next(one for one in cli.json("orders") if one["request_id"] == "late2")
    post(f"/orders/{order['id']}/acts/resolve", state="failed", reason="a test", confirmed="yes")
    assert states(cli)["late2"] == "failed"


def use_commands(cli: CommandLine, folder: Path) -> None:
    file = folder / "orders.csv"
    file.write_text("request_id,mobile\nc1,18812340801\n")
    cli.run("enqueue", str(file))
    by = ("--by", "ann", "--reason", "a test")
    cli.run("pause", "default", "--for", "1h", *by)
    cli.run("resume", "default", *by)
    cli.run("hold", *by)
    cli.run("check", "c1", *by)
    cli.run("cancel", "c1", *by)
    for command in ("status", "todo", "plan", "queries", "rejected", "unmatched", "acts", "report", "notifications"):
        cli.run(command)


def archive_and_purge(role: PlainRole, cli: CommandLine) -> None:
    """What is old is archived, restored, archived again and deleted."""
    old, sure = "'2026-01-31 00:00:00'", ("--by", "ann", "--reason", "a test", "--yes")
    times = ", ".join(f"{name} = {old}" for name in ("submitted_at", "settled_at", "created_at", "updated_at"))
    role.execute(f"UPDATE recharge_orders SET {times} WHERE request_id LIKE 'r%'")
    moments = {"order_events": "at", "platform_queries": "sent_at"}
    moments |= dict.fromkeys(("rejected_orders", "unmatched_callbacks"), "received_at")
    role.execute(*(f"UPDATE {table} SET {column} = {old}" for table, column in moments.items()))
    assert cli.json("archive", "--settled-before", "2d", *sure)["archived"] == 3
    assert cli.json("archive", "--restore", *sure)["restored"] == 3
    assert cli.json("archive", "--settled-before", "2d", *sure)["archived"] == 3
    cli.run("purge", "--older-than", "30d", *sure)
    for table in ("archived_orders", "rejected_orders", "unmatched_callbacks"):
        assert column_of(role.url, f"SELECT count(*) FROM {table}") == [0]
