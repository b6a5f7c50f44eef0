"""`notifications` and `resend`, and what `order`, `todo` and `status` say of notifications."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint, told_of
from tests.support.reconciling import Workbench
from tests.support.settled_orders import add_newest, age, callback
from worker.database.tables import ACTS, ENDPOINTS, NOTIFICATIONS
from worker.domain.records.notifications import NotificationState, Rank

DELIVERED = {"state": NotificationState.DELIVERED, "outcome": "accepted", "http_status": 204}
GAVE_UP = {"state": NotificationState.GAVE_UP, "tries": 10, "outcome": "http_error", "http_status": 500, "answer": "no"}


def settle(bench: Workbench, *names: str, endpoint: bool = True) -> None:
    if endpoint:
        put_endpoint(bench)
    bench.add(*names)
    bench.intake.record_callbacks([callback(name) for name in names])


def mark(bench: Workbench, name: str, **values: Any) -> None:
    ids = [one.row.id for one in told_of(bench, name)]
    if values.get("state") is NotificationState.DELIVERED:
        values["delivered_at"] = bench.now()
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id.in_(ids)).values(**values))


def mark_endpoint(bench: Workbench, hours_ago: float, *names: str, **values: Any) -> None:
    then = bench.now() - timedelta(hours=hours_ago)
    bench.run(update(ENDPOINTS).values(**dict.fromkeys(names, then), **values))


def test_without_an_endpoint_it_is_said_how_to_set_one(bench: Workbench, cli: CommandLine) -> None:
    shown = cli.run("notifications").stdout
    assert "docs/notifications.md" in shown
    assert "No such notifications." in shown
    assert cli.json("notifications") == {"endpoints": [], "notifications": []}


def test_endpoints_and_notifications_are_listed_newest_first_in_pages(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1", "r2", "r3")
    mark(bench, "r1", **DELIVERED)
    mark(bench, "r2", **GAVE_UP)
    printed = cli.json("notifications")
    (endpoint,) = printed["endpoints"]
    assert (endpoint["account"], endpoint["to"], endpoint["in_words"]) == (
        *("default", "https://billing.example", "takes notifications"),
    )
    assert (endpoint["pending"], endpoint["gave_up"]) == (1, 1)
    rows = printed["notifications"]
    assert [(row["request_id"], row["state"], row["http_status"]) for row in rows] == [
        ("r3", "pending", None),
        ("r2", "gave_up", 500),
        ("r1", "delivered", 204),
    ]
    assert "body" not in rows[0]
    first = cli.json("notifications", "--limit", "2")["notifications"]
    rest = cli.json("notifications", "--limit", "2", "--after", str(first[-1]["id"]))["notifications"]
    assert [*first, *rest] == rows
    assert [row["request_id"] for row in cli.json("notifications", "--pending")["notifications"]] == ["r3"]
    assert [row["request_id"] for row in cli.json("notifications", "--gave-up")["notifications"]] == ["r2"]
    assert cli.json("notifications", "--gave-up", "--account", "shop")["notifications"] == []
    shown = cli.run("notifications").stdout
    assert "https://billing.example" in shown
    assert "http_error 500" in shown


def test_the_list_is_printed_as_csv(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    listed = cli.csv("notifications")
    assert [(row["request_id"], row["type"], row["state"]) for row in listed] == [("r1", "order.succeeded", "pending")]


def test_an_endpoint_is_paused_resumed_and_forgotten_by_name(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    assert "has no endpoint" in cli.error("notifications", "pause", "shop")
    cli.run("notifications", "pause", "default", "--by", "ann", "--reason", "moving")
    assert cli.json("notifications")["endpoints"][0]["in_words"] == "paused by ann"
    assert cli.json("notifications", "resume", "default") == {"account": "default", "act": "resume"}
    assert cli.json("notifications")["endpoints"][0]["paused_at"] is None
    refused = cli.run("notifications", "forget", "default", status=2)
    assert "1 notification of default to https://billing.example will never be sent" in refused.stderr
    assert told_of(bench)
    done = cli.json("notifications", "forget", "default", "--yes", "--by", "ann")
    assert done == {"account": "default", "act": "forget", "removed": 1}
    assert told_of(bench) == []
    acts = [(row["act"], row["actor"]) for row in bench.rows(ACTS)]
    assert acts[0] == ("pause_notifications", "ann")
    assert acts[-1] == ("forget_notifications", "ann")


def test_a_dry_run_changes_no_endpoint(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    endpoints = cli.json("notifications")["endpoints"]
    for act in ("pause", "resume", "forget"):
        assert cli.run("notifications", act, "default", "--dry-run").stdout.startswith("Nothing was changed. Without")
    assert cli.json("notifications", "forget", "default", "--dry-run")["removed"] == 1
    assert cli.json("notifications")["endpoints"] == endpoints
    assert (bench.rows(ACTS), len(told_of(bench))) == ([], 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--pending", "--gave-up"), "give one of --pending and --gave-up"),
        (("--gave-up", "pause", "default"), "options of `pause` stand behind it"),
    ],
)
def test_what_does_not_go_together_is_refused(cli: CommandLine, wrong: tuple[str, ...], said: str) -> None:
    assert said in cli.error("notifications", *wrong, status=2)


def test_the_latest_notification_of_an_order_goes_again_under_its_id(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    mark(bench, "r1", **GAVE_UP)
    bench.intake.record_callbacks([callback("r1", status="-1")])
    (first, latest) = told_of(bench, "r1")
    bench.run(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == latest.row.id).values(**GAVE_UP))
    assert cli.json("resend", "r1", "--dry-run") == {"resent": 1, "made": 0, "rejected": [], "dry_run": True}
    assert [one.row.state for one in told_of(bench)] == [NotificationState.GAVE_UP] * 2
    assert cli.json("resend", "r1", "--by", "ann", "--reason", "ticket 7") == {"resent": 1, "made": 0, "rejected": []}
    (again,) = told_of(bench, "r1")
    assert (again.row.event_id, again.row.body) == (latest.row.event_id, latest.row.body)
    assert (again.row.state, again.row.rank, again.row.tries) == (NotificationState.PENDING, Rank.BULK, 0)
    assert first.row.event_id != again.row.event_id
    (act,) = bench.rows(ACTS)
    assert (act["act"], act["actor"], act["reason"]) == ("resend", "ann", "ticket 7")
    assert act["detail"] == "1 order: r1"


def test_what_was_resent_is_late_from_then_on_and_what_waits_beside_it_from_its_change(
    bench: Workbench, cli: CommandLine
) -> None:
    def late() -> list[str]:
        found = cli.json("status")["findings"]
        return [one["in_words"] for one in found if one["name"] == "notifications_late"]

    settle(bench, "old")
    settle(bench, "new", endpoint=False)
    now = bench.now()
    mark(bench, "old", changed_at=now - timedelta(hours=48), due_at=now - timedelta(hours=48))
    assert "not been delivered for 2 days, 2 are pending" in late()[0]
    mark(bench, "old", **DELIVERED)
    cli.run("resend", "old")
    assert late() == []
    mark(bench, "new", changed_at=now - timedelta(minutes=20), due_at=now)
    assert "not been delivered for 20 minutes, 2 are pending" in late()[0]
    mark(bench, "new", **DELIVERED)
    assert late() == []
    # It is refused since: its next try is ahead, and says nothing of how long it has waited.
    refused = {"rank": Rank.RETRY, "tries": 3, "refused_since": now - timedelta(minutes=11)}
    mark(bench, "old", due_at=now + timedelta(hours=1), **refused)
    assert "not been delivered for 11 minutes, 1 are pending" in late()[0]
    cli.run("notifications", "pause", "default")
    assert late() == []


def test_an_order_without_a_notification_is_told_of_as_it_stands(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1", endpoint=False)
    bench.add("r2")
    assert "has no endpoint" in cli.json("resend", "r1", status=1)["rejected"][0]["errors"][0]
    put_endpoint(bench)
    done = cli.json("resend", "r1", "r2", "r3", status=1)
    assert (done["resent"], done["made"], [one["ref"] for one in done["rejected"]]) == (0, 1, ["r3", "r2"])
    (told,) = told_of(bench)
    assert (told.type, told.row.version, told.row.rank) == ("order.succeeded", bench.order("r1").version, Rank.BULK)


def test_an_order_that_was_corrected_is_resent_with_its_new_amount(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    mark(bench, "r1", **GAVE_UP)
    cli.run("reopen", "r1", "--reason", "wrong amount", "--force")
    cli.run("resolve", "r1", "--state", "succeeded", "--amount", "5.00", "--reason", "statement")
    (first, *_, corrected) = told_of(bench, "r1")
    # Delivered, and deleted since.
    bench.run(f"DELETE FROM notifications WHERE version > {first.row.version}")
    assert cli.json("resend", "r1") == {"resent": 0, "made": 1, "rejected": []}
    (again,) = told_of(bench, "r1")
    assert (again.data["ori_amount"], again.row.version) == ("5.00", corrected.row.version)
    assert cli.json("resend", "r1") == {"resent": 1, "made": 0, "rejected": []}


def test_a_renewed_notification_has_a_newer_version_that_its_order_has_too(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1", "r2")
    mark(bench, "r1", **GAVE_UP)
    mark(bench, "r2", **DELIVERED)
    age(bench, "r2")
    before = {name: one.row.version for name in ("r1", "r2") for one in told_of(bench, name)}
    words = ["resend", "r1", "r2", "--renew", "--by", "ann", "--reason", "restored"]
    assert cli.json(*words, "--dry-run") == {"resent": 0, "made": 2, "rejected": [], "dry_run": True}
    assert {one.row.version for one in told_of(bench)} == set(before.values())
    assert cli.json(*words) == {"resent": 0, "made": 2, "rejected": []}
    for name, version in before.items():
        (renewed,) = [one for one in told_of(bench, name) if one.row.state is NotificationState.PENDING]
        assert (renewed.type, renewed.row.rank) == ("order.succeeded", Rank.BULK)
        assert renewed.row.version == renewed.data["version"] == bench.order(name).version > version
    # The one that was given up is superseded.
    assert len(told_of(bench, "r1")) == 1
    (act,) = bench.rows(ACTS)
    assert (act["act"], act["actor"], act["reason"]) == ("resend", "ann", "restored")
    assert act["detail"] == "2 orders: r1, r2"


def test_what_a_filter_selects_is_counted_and_needs_a_yes(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1", "r2", "r3")
    mark(bench, "r1", **GAVE_UP)
    mark(bench, "r2", **DELIVERED)
    refused = cli.run("resend", "--gave-up", status=2)
    assert "1 order is selected" in refused.stderr
    assert cli.json("resend", "--gave-up", "--yes")["resent"] == 1
    assert told_of(bench, "r1")[0].row.state is NotificationState.PENDING
    assert cli.json("resend", "--since", "1h", "--yes")["resent"] == 3
    then = bench.now() - timedelta(hours=2)
    bench.run(update(NOTIFICATIONS).values(changed_at=then))
    age(bench, "r1", "r2", "r3", days_ago=1)
    assert cli.json("resend", "--since", "1h", "--yes")["resent"] == 0
    assert cli.json("resend", "--since", "3h", "--account", "shop", "--yes")["resent"] == 0
    assert cli.json("resend", "--since", "3h", "--yes")["resent"] == 3


def test_orders_that_changed_since_are_found_whose_notifications_are_gone(bench: Workbench, cli: CommandLine) -> None:
    put_endpoint(bench)
    names = ["settled", "cancelled", "old", "reopened", "overdue", "waits"]
    bench.add(*names)
    bench.intake.record_callbacks([callback("settled"), callback("reopened")])
    bench.intake.cancel_orders([{"request_id": "cancelled"}, {"request_id": "old"}])
    cli.run("reopen", "reopened", "--reason", "wrong", "--force")
    bench.run("UPDATE recharge_orders SET attention = 'too_old' WHERE request_id = 'overdue'")
    age(bench, "settled", "cancelled", days_ago=2)
    age(bench, "old", days_ago=9)
    add_newest(bench)
    bench.run("DELETE FROM notifications")
    assert cli.json("resend", "--since", "3d", "--yes")["made"] == 4
    made = {one.data["request_id"]: one.type for one in told_of(bench)}
    assert made == {
        "settled": "order.succeeded",
        "cancelled": "order.cancelled",
        "reopened": "order.reopened",
        "overdue": "order.attention",
    }


def test_orders_or_a_filter_have_to_be_named(cli: CommandLine) -> None:
    for wrong in ((), ("r1", "--gave-up"), ("--gave-up", "--since", "1h")):
        assert "name orders, or select them" in cli.run("resend", *wrong, status=2).stderr


def test_the_deliveries_of_an_order_are_shown_with_it(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    mark(bench, "r1", **GAVE_UP)
    (told,) = cli.json("order", "r1")["notifications"]
    assert (told["type"], told["state"], told["tries"], told["answer"]) == ("order.succeeded", "gave_up", 10, "no")
    shown = cli.run("order", "r1").stdout
    assert "Notifications of it" in shown
    assert "http_error 500" in shown


def test_what_was_given_up_and_endpoints_that_need_a_person_are_to_do(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1")
    mark(bench, "r1", **GAVE_UP)
    mark_endpoint(bench, 76, "failing_since", "paused_at", paused_by="ann")
    groups = {group["reason"]: group for group in cli.json("todo")["todo"]}
    assert set(groups) == {"endpoint_failing", "endpoint_paused", "notification_gave_up"}
    (gave_up,) = groups["notification_gave_up"]["items"]
    assert (gave_up["ref"], gave_up["note"]) == (f"id:{bench.order('r1').id}", "http_error 500 no")
    assert groups["endpoint_paused"]["items"][0]["note"] == "ann: https://billing.example"
    mark_endpoint(bench, 1, "stopped_at")
    assert "endpoint_stopped" in {group["reason"] for group in cli.json("todo")["todo"]}
    assert "reconciler resend --gave-up" in cli.run("todo").stdout


def test_what_an_interrupted_forget_has_left_is_shown_and_another_one_finishes_it(
    bench: Workbench, cli: CommandLine
) -> None:
    settle(bench, "r1", "r2", "r3")
    mark(bench, "r2", **GAVE_UP)
    mark(bench, "r3", **DELIVERED)
    bench.run("DELETE FROM notify_endpoints")
    (missing,) = [group for group in cli.json("todo")["todo"] if group["reason"] == "endpoint_missing"]
    assert [(one["ref"], one["note"]) for one in missing["items"]] == [("default", "2 notifications")]
    (finding,) = [one for one in cli.json("status", "--check", status=2)["findings"] if "endpoint" in one["name"]]
    assert (finding["name"], finding["account"]) == ("endpoint_missing", "default")
    done = cli.json("notifications", "forget", "default", "--yes", "--by", "bob")
    assert done == {"account": "default", "act": "forget", "removed": 2}
    assert [(act["act"], act["actor"], act["detail"]) for act in bench.rows(ACTS)] == [
        ("forget_notifications", "bob", None)
    ]
    assert "endpoint_missing" not in {group["reason"] for group in cli.json("todo")["todo"]}
    assert [one.row.state for one in told_of(bench)] == [NotificationState.DELIVERED]
    assert "has no endpoint" in cli.error("notifications", "forget", "default", "--yes", "--by", "bob")


def test_an_event_that_is_refused_for_an_hour_while_others_are_taken_is_to_do_by_its_order(
    bench: Workbench, cli: CommandLine
) -> None:
    settle(bench, "r1", "r2", "r3")
    now = bench.now()
    refused = {"rank": Rank.RETRY, "tries": 4, "outcome": "http_error", "http_status": 422, "answer": "no such order"}
    mark(bench, "r1", **refused, refused_since=now - timedelta(minutes=61))
    mark(bench, "r2", **refused, refused_since=now - timedelta(minutes=59))

    def to_do() -> list[Any]:
        groups = {group["reason"]: group for group in cli.json("todo")["todo"]}
        return groups["notification_refused"]["items"] if "notification_refused" in groups else []

    (found,) = to_do()
    order = bench.order("r1")
    assert (found["account"], found["ref"], found["note"]) == (
        *("default", f"id:{order.id}", "http_error 422 no such order"),
    )
    assert f"id:{order.id}" in cli.run("todo").stdout
    assert f",id:{order.id}," in cli.run("todo", "--csv").stdout
    # While the endpoint takes none, it is not this one's fault.
    mark_endpoint(bench, 0.5, "failing_since")
    assert to_do() == []


def test_that_no_process_sends_is_shown_unless_some_are_under_way(bench: Workbench, cli: CommandLine) -> None:
    settle(bench, "r1", "r2", "r3")

    def shown() -> set[str]:
        found = {group["reason"] for group in cli.json("todo")["todo"]}
        words = cli.json("notifications")["endpoints"][0]["in_words"]
        return found | ({"in words"} if "no process sends" in words else set())

    assert shown() == set()
    now = bench.now()
    bench.run(update(NOTIFICATIONS).values(due_at=now - timedelta(minutes=6)))
    later = update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == told_of(bench, "r3")[0].row.id)
    bench.run(later.values(rank=Rank.BULK, due_at=now + timedelta(hours=1)))
    assert shown() == {"notifications_unsent", "in words"}
    finding = {"notifications_unsent"} & {one["name"] for one in cli.json("status", "--check", status=2)["findings"]}
    assert finding
    mark(bench, "r2", rank=Rank.BULK, leased_until=now + timedelta(hours=1))
    assert shown() == set()
    mark(bench, "r2", leased_until=now - timedelta(seconds=1))
    assert shown() == {"notifications_unsent", "in words"}


@pytest.mark.parametrize(
    ("name", "hours"), [("endpoint_stopped", 1.0), ("endpoint_failing", 76.0), ("notifications_gave_up", 0.0)]
)
def test_monitoring_is_told_of_what_is_given_up_or_stopped(
    bench: Workbench, cli: CommandLine, name: str, hours: float
) -> None:
    settle(bench, "r1")

    def names() -> list[str]:
        return [one["name"] for one in cli.json("status")["findings"]]

    assert name not in names()
    if name == "notifications_gave_up":
        mark(bench, "r1", **GAVE_UP)
    else:
        mark_endpoint(bench, hours, "failing_since" if name == "endpoint_failing" else "stopped_at")
    assert name in names()
    assert name in [one["name"] for one in cli.json("status", "--check", status=2)["findings"]]
    (endpoint,) = cli.json("status")["endpoints"]
    assert endpoint["account"] == "default"
    assert "https://billing.example" in cli.run("notifications").stdout
