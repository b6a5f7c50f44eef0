"""The files for Prometheus, Alertmanager and Grafana: checked by their own programs, and run on a busy system.

Alerts that fire do so here within seconds, by `HASTE`; that they do by the figures as shipped is said by
`promtool test rules`.
"""

import base64
import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import worker
from tests.deploy.monitoring_servers import Alertmanager, Prometheus
from tests.support import npm
from tests.support.processes import (
    Program,
    accounts_file,
    alike_accounts,
    environment,
    running_beat,
    running_platform,
    running_serve,
    running_worker,
    send_tasks,
)
from tests.support.prometheus import amtool, promtool
from tests.support.raw_query import write_control
from tests.support.receiver import Receiver
from tests.support.servers import EmbeddedPostgres, EmbeddedValkey
from tests.support.sql import column_of, execute
from tests.support.waiting import eventually
from worker.database.migrations import upgrade

pytestmark = pytest.mark.deploy

DEPLOY = Path(worker.__file__).parents[1] / "deploy"
PROMETHEUS, RULES = DEPLOY / "prometheus/prometheus.yml", DEPLOY / "prometheus/reconciler.rules.yml"
ALERTMANAGER = DEPLOY / "alertmanager/alertmanager.yml"
DASHBOARD = DEPLOY / "grafana/reconciler.json"
HASTE = {
    # The waits of the rules that are of minutes.
    r"for: \d+m$": "for: 1s",
    r"(scrape|evaluation)_interval: 15s": r"\1_interval: 1s",
    # Two scrapes.
    r"\[30s\]": "[2s]",
    # How long the broker has been silent: up to 26 seconds where all is well, as `serve` reads the database every 15.
    r"\) > 60$": ") > 30",
    # How long a notification waits.
    r"(oldest_notification_timestamp_seconds) > 600": r"\1 > 5",
    r"group_wait: \d+s": "group_wait: 0s",
    r"group_interval: 5m": "group_interval: 1s",
}
TOKEN = "a-token-of-24-characters"
SETTINGS = {
    "metrics_token": TOKEN,
    "notify_secret": "whsec_" + base64.b64encode(b"a secret of the deploy tests").decode(),
    "query_window_seconds": 1,
    "query_margin_seconds": 0.05,
    "request_deadline_seconds": 4,
    "callback_grace_seconds": 0.05,
    "tick_seconds": 0.2,
}
NO_WORKER, NO_BROKER, NOTIFICATIONS = "ReconcilerNoWorker", "ReconcilerNoBroker", "ReconcilerNotificationsWait"
# Gauges are up to 20 seconds old.
PATIENCE_SECONDS = 120.0
soon = partial(eventually, seconds=PATIENCE_SECONDS, every=0.3)
# The oldest that shows the dashboard, and the newest; and what checks types.
GRAFANA_SCHEMAS = ("10.4.19", "13.2.3")
TYPESCRIPT = "7.0.2"


def test_the_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", RULES)


def test_each_alert_fires_and_does_not_as_its_tests_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULES.with_name("reconciler.rules.test.yml"))


def test_the_configurations_are_valid() -> None:
    # Without what exists on the host alone: the file of the token.
    assert "SUCCESS" in promtool("check", "config", "--lint-fatal", "--syntax-only", PROMETHEUS)
    assert "SUCCESS" in amtool("check-config", ALERTMANAGER)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "office-hours")])
def test_each_severity_has_its_receiver(severity: str, receiver: str) -> None:
    assert f"severity: {severity}\n" in RULES.read_text("utf-8")
    routes = ("config", "routes", "test", f"--config.file={ALERTMANAGER}")
    amtool(*routes, f"--verify.receivers={receiver}", f"severity={severity}", "alertname=any", "account=any")


# What Grafana's JSON is: text in place of an enumeration's member, and in each panel the options of its kind.
TYPES = """
import type { Dashboard, DataQuery, FieldConfigSource, Panel, RowPanel } from "@grafana/schema";
import type { Options as StatOptions }
    from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { FieldConfig as Line, Options as TimeSeriesOptions }
    from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Written<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Written<T[K]> } : T;
interface Query extends DataQuery { expr: string; legendFormat: string; instant?: boolean }
interface Shown<Type, Options, Custom> extends Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> {
    type: Type; options: Partial<Options>; fieldConfig: FieldConfigSource<Custom>; targets: Query[];
}
type Panels = (RowPanel | Shown<"stat", StatOptions, {}> | Shown<"timeseries", TimeSeriesOptions, Line>)[];
export const dashboard: Written<Omit<Dashboard, "panels"> & { panels: Panels }> = """


@pytest.mark.parametrize("version", GRAFANA_SCHEMAS)
def test_the_dashboard_is_of_grafanas_types(version: str, tmp_path: Path) -> None:
    npm.install(tmp_path, f"@grafana/schema@{version}", f"typescript@{TYPESCRIPT}")
    (tmp_path / "dashboard.ts").write_text(f"{TYPES}{DASHBOARD.read_text('utf-8')}", "utf-8")
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler")
    command = [str(tmp_path / "node_modules/.bin/tsc"), *options, "dashboard.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stdout) == (0, "")


@dataclass
class Watched:
    """A deployment with two accounts, which Prometheus and Alertmanager watch: `default`, and one that the platform
    does not know."""

    platform: str
    database: str
    broker: EmbeddedValkey
    worker: Program
    billing: Receiver
    """Of the notifications of `default`."""
    webhook: Receiver
    """Of Alertmanager's messages."""
    prometheus: Prometheus
    alertmanager: Alertmanager
    _sent: int = field(default=0)

    def enqueue(self, count: int, *, within_seconds: float = 0.0, **fields: str) -> None:
        """Place orders, which settle within that time, and send them to the worker, with further fields."""
        numbers = range(self._sent, self._sent + count)
        self._sent += count
        placed = [
            {
                "request_id": f"2016010{number:09}",
                "mobile": f"188{number:08}",
                "amount": "2.94",
                "outcome": "1",
                "settle_after": within_seconds * (number - numbers.start) / count,
            }
            for number in numbers
        ]
        assert write_control(self.platform, "orders", {"orders": placed}).status == 200
        orders = [{"request_id": one["request_id"], "mobile": one["mobile"], **fields} for one in placed]
        send_tasks(self.broker.url, ("reconciler.enqueue_orders", [orders]))

    def refuse_a_notification(self) -> None:
        """The billing system takes none of an order that settles."""
        self.billing.reply = lambda _, answering: answering.answer(503)
        self.enqueue(1)

    def refuse_the_host(self) -> None:
        """The platform refuses the worker's host for an account that it does not poll."""
        host = "SELECT host, 'elsewhere', written_at, '-205', written_at + interval '1 hour', 0, 0, false, ''"
        execute(self.database, f"INSERT INTO cut_off_hosts {host} FROM worker_processes LIMIT 1")

    def make_older(self) -> None:
        """What has ended is two minutes older than it was, so that the totals count it."""
        for table, times, which in (
            ("platform_queries", ("sent_at", "answered_at"), "outcome <> 'in_flight'"),
            ("order_events", ("at",), "true"),
            ("rejected_orders", ("received_at",), "true"),
        ):
            older = ", ".join(f"{time} = {time} - interval '2 minutes'" for time in times)
            is_young = f"{times[0]} > (now() AT TIME ZONE 'UTC') - interval '2 minutes'"
            execute(self.database, f"UPDATE {table} SET {older} WHERE {which} AND {is_young}")

    def messages(self, receiver: str) -> list[dict[str, Any]]:
        """What Alertmanager has sent to a receiver."""
        sent = [json.loads(request.body) for request in list(self.webhook.requests)]
        return [message for message in sent if message["receiver"] == receiver]

    def wait_for(self, alert: str, since: datetime, receiver: str) -> dict[str, Any]:
        """Wait until a receiver has been sent an alert that has fired since then; returns it."""

        def found() -> list[dict[str, Any]]:
            alerts = [one for message in self.messages(receiver) for one in message["alerts"]]
            return [
                one
                for one in alerts
                if (one["labels"]["alertname"], one["status"]) == (alert, "firing")
                and datetime.fromisoformat(one["startsAt"]) > since
            ]

        return soon(found, f"{alert} at the webhook of {receiver}")[0]


def configure(folder: Path, places: Mapping[str, str]) -> None:
    """The files of deploy/ in a folder, with these texts in place of printed ones, and in haste."""
    texts = {file.name: file.read_text("utf-8") for file in (PROMETHEUS, RULES, ALERTMANAGER)}
    for pattern, own in {**{re.escape(printed): own for printed, own in places.items()}, **HASTE}.items():
        found = {name: re.subn(pattern, own, text, flags=re.MULTILINE) for name, text in texts.items()}
        assert any(count for _, count in found.values()), pattern
        texts = {name: text for name, (text, _) in found.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    alertmanager = Alertmanager(folder / ALERTMANAGER.name)
    prometheus = Prometheus(folder / PROMETHEUS.name)
    with ExitStack() as stack:
        database, broker = stack.enter_context(EmbeddedPostgres()), stack.enter_context(EmbeddedValkey())
        billing, webhook = stack.enter_context(Receiver()), stack.enter_context(Receiver())
        platform = stack.enter_context(running_platform(environment(query_window_seconds=1), folder, "--no-adopt"))
        upgrade(database.url)
        urls = {"database_url": database.url, "broker_url": broker.url, "platform_url": platform}
        accounts = accounts_file(folder, alike_accounts(["unknown"]))
        env = environment(**SETTINGS, **urls, accounts_file=accounts, notify_url=billing.url)
        stack.enter_context(running_beat(env, folder))
        started = stack.enter_context(running_worker(env, folder))
        _, url = stack.enter_context(running_serve(env, folder, "--only", "operate"))
        (folder / "reconciler.token").write_text(f"{TOKEN}\n")
        for receiver in ("on-call", "office-hours"):
            (folder / f"{receiver}.url").write_text(f"{webhook.url}\n")
        target = urlsplit(url).netloc
        own = {"/etc/prometheus/": f"{folder}/", "127.0.0.1:8081": target, "127.0.0.1:9093": alertmanager.address}
        configure(folder, own)
        stack.enter_context(alertmanager)
        stack.enter_context(prometheus)
        yield Watched(platform, database.url, broker, started, billing, webhook, prometheus, alertmanager)


def test_a_stopped_receiver_and_a_stopped_broker_reach_the_webhook(watched: Watched) -> None:
    stopped_at = datetime.now(UTC)
    watched.billing.stop()
    watched.enqueue(1)
    pending = "SELECT count(*) > 0 FROM notifications WHERE delivered_at IS NULL"
    soon(lambda: column_of(watched.database, pending) == [True], "a notification that was not received")
    watched.broker.kill()
    broker = watched.wait_for(NO_BROKER, stopped_at, "on-call")
    assert broker["annotations"]["runbook"] == "docs/runbook.md#no-broker"
    receiver = watched.wait_for(NOTIFICATIONS, stopped_at, "office-hours")
    assert receiver["labels"]["account"] == "default"
    watched.broker.start()


def test_each_panel_of_the_dashboard_shows_samples_of_a_busy_system(watched: Watched) -> None:
    watched.refuse_a_notification()
    watched.enqueue(1, expected_amount="5.00")
    watched.enqueue(300, within_seconds=PATIENCE_SECONDS)
    bad, foreign = {"request_id": "bad id"}, {"request_id": "1", "mobile": "18812340804", "account": "unknown"}
    send_tasks(watched.broker.url, ("reconciler.enqueue_orders", [[bad, foreign]]))

    def labels() -> list[str]:
        return watched.prometheus.label_values("account", "reconciler_account_paused")

    soon(lambda: labels() == ["default", "unknown"], "both accounts")
    watched.refuse_the_host()
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    targets = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) > 30

    def has_numbers(expression: str) -> bool:
        watched.make_older()
        return any(not math.isnan(number) for number in watched.prometheus.numbers(expression))

    for title, expression in targets:
        # As Grafana fills them in.
        plain = expression.replace("$account", f"({'|'.join(labels())})").replace("$__rate_interval", "1m")
        assert "$" not in plain
        soon(partial(has_numbers, plain), f"{title}: {plain}")


def test_a_stopped_worker_reaches_the_webhook_and_keeps_back_what_follows_from_it(watched: Watched) -> None:
    def state(alert: str = NOTIFICATIONS) -> set[str]:
        return watched.alertmanager.state_of(alert)

    watched.refuse_a_notification()
    soon(lambda: state() == {"active"}, "an alert that is sent")
    soon(lambda: not state(NO_WORKER) | state("ReconcilerNotScraped"), "no alert while all is well")
    stopped_at = datetime.now(UTC)
    assert watched.worker.stop() == 0
    alert = watched.wait_for(NO_WORKER, stopped_at, "on-call")
    assert alert["annotations"]["runbook"] == "docs/runbook.md#no-worker"
    soon(lambda: state() == {"suppressed"}, "an alert that is kept back")
