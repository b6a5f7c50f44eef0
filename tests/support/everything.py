"""A deployment of every program on servers that are given, and one use of each part of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.support.command_line import CommandLine
from tests.support.console import hidden_fields
from tests.support.processes import (
    ACCOUNT,
    FAST,
    environment,
    open_slots,
    running_beat,
    running_platform,
    running_serve,
    running_worker,
    send_tasks,
)
from tests.support.raw_query import write_control
from tests.support.sql import column_of
from tests.support.visitors import ACTOR, PASSWORD, write_users
from tests.support.waiting import eventually

WINDOW = 1.0
TOKEN = "a-token-of-the-account-1"


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What everything runs on, as URLs that hold a user."""

    database: str
    broker: str
    producers_broker: str
    """The broker, as the program that enqueues."""
    execute: Callable[..., None]
    """Runs statements as the database's administrator."""


def run_everything(servers: Servers, folder: Path) -> None:
    """Run worker, beat, serve, its console, a caller of tasks and commands, and use all of them once."""
    with running_platform(environment(query_window_seconds=WINDOW), folder, "--no-adopt") as platform:
        settings = {
            **FAST,
            "query_window_seconds": WINDOW,
            "database_url": servers.database,
            "broker_url": servers.broker,
            "platform_url": platform,
            "callback_token": TOKEN,
            "users_file": write_users(folder / "users.toml"),
        }
        cli = CommandLine({**ACCOUNT, **{f"RECONCILER_{name.upper()}": str(value) for name, value in settings.items()}})
        found = {name: check["status"] for name, check in cli.checks().items()}
        assert (found["database_rights"], "fatal" in found.values()) == ("ok", False)
        env = environment(**settings, log_format="json")
        with running_worker(env, folder) as program, running_beat(env, folder), running_serve(env, folder) as (_, url):
            open_slots(servers.database)
            _reconcile(platform, servers.producers_broker, cli)
            _call_back(url, cli)
            _act_at_the_console(url, servers.database, cli)
            _use_commands(cli, folder)
            _purge(servers, cli)
            assert program.stop() == 0
    assert "database_rights" not in program.output
    assert '"level": "error"' not in program.output


def _reconcile(platform: str, broker: str, cli: CommandLine) -> None:
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
    eventually(lambda: "gone" in _states(cli), "an order to cancel")
    send_tasks(broker, ("reconciler.cancel_orders", [[{"account": "default", "request_id": "gone"}]]))
    eventually(lambda: _states(cli).get("r0") == _states(cli).get("r2") == "succeeded", "settled orders")
    eventually(lambda: _states(cli).get("gone") == "cancelled", "the cancellation")


def _states(cli: CommandLine) -> dict[str, str]:
    return {one["request_id"]: one["state"] for one in cli.json("orders")}


def _call_back(url: str, cli: CommandLine) -> None:
    for name, amount in (("late1", "5.00"), ("unknown", "1.00")):
        body = {"requestId": name, "trafficSts": "1", "oriAmount": amount, "mobile": "188****0899"}
        callback = Request(f"{url}/callbacks/default/{TOKEN}", json.dumps(body).encode())
        # 503 asks the platform to send it again: a query holds the order's row.
        eventually(partial(_answers, callback), f"a callback about {name}")
    for path in ("/readyz", "/healthz", "/metrics"):
        # On a busy machine a worker's tick, or an answer of the broker, may be late.
        eventually(partial(_answers, Request(url + path)), path)
    assert _states(cli)["late1"] == "succeeded"
    assert Decimal(next(one for one in cli.json("orders") if one["request_id"] == "late1")["ori_amount"]) == 5


def _answers(request: Request) -> bool:
    try:
        with build_opener().open(request, timeout=100) as answer:
            return bool(answer.status == 200)
    except HTTPError as error:
        if error.code != 503:
            raise
        return False


def _act_at_the_console(url: str, database: str, cli: CommandLine) -> None:
    opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(path: str) -> str:
        with opener.open(url + path, timeout=100) as answer:
            return str(answer.read().decode())

    def post(path: str, **typed: str) -> str:
        form = urlencode({**hidden_fields(get(path)), **typed}).encode()
        with opener.open(url + path, form, timeout=100) as answer:
            return str(answer.read().decode())

    with pytest.raises(HTTPError):
        post("/sign-in", name=ACTOR, password="wrong")
    assert ACTOR in post("/sign-in", name=ACTOR, password=PASSWORD)
    for path in ("/", "/orders", "/attention", "/notifications", "/queries", "/rejected", "/unmatched", "/acts"):
        assert get(path)
    # A poll between the page and its form would have the act refused.
    cli.run("pause", "default", "--reason", "a test")
    under_way = "SELECT id FROM platform_queries WHERE outcome = 'in_flight'"
    eventually(lambda: column_of(database, under_way) == [], "the end of the query that was under way")
    order = next(one for one in cli.json("orders") if one["request_id"] == "late2")
    post(f"/orders/{order['id']}/acts/resolve", state="failed", reason="a test", confirmed="yes")
    assert _states(cli)["late2"] == "failed"


def _use_commands(cli: CommandLine, folder: Path) -> None:
    file = folder / "orders.csv"
    file.write_text("request_id,mobile\nc1,18812340801\n")
    cli.run("enqueue", str(file))
    by = ("--by", "ann", "--reason", "a test")
    cli.run("pause", "default", "--for", "1h", *by)
    cli.run("resume", "default", *by)
    cli.run("hold", *by)
    cli.run("check", "c1", *by)
    cli.run("cancel", "c1", *by)
    for command in ("status", "todo", "queries", "rejected", "unmatched", "acts", "report", "notifications"):
        cli.run(command)


def _purge(servers: Servers, cli: CommandLine) -> None:
    """What is old is deleted."""
    old, sure = "'2026-01-31 00:00:00'", ("--by", "ann", "--reason", "a test", "--yes")
    times = ", ".join(f"{name} = {old}" for name in ("submitted_at", "settled_at", "created_at", "updated_at"))
    servers.execute(f"UPDATE recharge_orders SET {times} WHERE substr(request_id, 1, 1) = 'r'")
    moments = {"order_events": "at", "platform_queries": "sent_at"}
    moments |= dict.fromkeys(("rejected_orders", "unmatched_callbacks"), "received_at")
    servers.execute(*(f"UPDATE {table} SET {column} = {old}" for table, column in moments.items()))
    assert cli.json("purge", "--orders", "30d", *sure)["rows"] == {"recharge_orders": 3}
    cli.run("purge", "--older-than", "30d", *sure)
    for table in ("rejected_orders", "unmatched_callbacks"):
        assert column_of(servers.database, f"SELECT count(*) FROM {table}") == [0]
