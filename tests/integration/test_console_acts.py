"""Acts in the console: what they ask, what they do, and what is left of them in the database."""

import html
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.console import ANN, READER, console_of, press, said_after, send
from tests.support.notifying import endpoint, put_endpoint, put_notifications, told_of
from tests.support.racing import is_waited_for
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from tests.support.waiting import eventually
from worker.database.tables import ACTS, BUDGETS, EVENTS, NOTIFICATIONS, REJECTED
from worker.domain.records.incoming import HttpError, Refused
from worker.domain.records.notifications import NotificationState
from worker.domain.records.operators import Viewer
from worker.domain.records.orders import Attention, OrderState, Source
from worker.operations.record_callbacks import record_callbacks_within

# Quick tests of the commands run the same statements on PostgreSQL.
pytestmark = pytest.mark.quick_on("sqlite")

ORDER_ACTS = ("resolve", "reopen", "cancel", "dismiss", "check", "resend")
PAUSE, RESUME = "/accounts/pause?account=default", "/accounts/resume?account=default"


def act_path(bench: Workbench, name: str, act: str) -> str:
    return f"/orders/{bench.order(name).id}/acts/{act}"


def unresolve(bench: Workbench, *names: str) -> None:
    for name in names:
        bench.run(
            "UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old' WHERE request_id = :name", name=name
        )


def last_act(bench: Workbench) -> tuple[str, str, str | None, str | None]:
    act = bench.rows(ACTS)[-1]
    return act["actor"], act["act"], act["account"], act["reason"]


def in_all_tables(bench: Workbench) -> list[list[dict[str, Any]]]:
    return [bench.rows(table) for table in (ACTS, EVENTS, NOTIFICATIONS, BUDGETS, REJECTED)]


def is_done(answer: TestResponse) -> bool:
    return not said_after(answer)["refused"]


# ---- one order


def test_an_order_is_settled_by_hand_after_a_second_look(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", expected_amount="2.94")
    bench.reconcile([item("1", status="7")])
    bench.run("UPDATE recharge_orders SET remark = '<b>?</b>'")
    path, typed = act_path(bench, "1", "resolve"), {"state": "succeeded", "amount": "29.4", "reason": "ticket 77"}
    asked = press(client, path, confirmed=False, **typed)
    assert asked.status_code == 200
    for words in ("￥29.40 is not the expected amount of ￥2.94", "ticket 77", "&lt;b&gt;?&lt;/b&gt;", "29.4"):
        assert words in asked.text
    assert (bench.order("1").state, bench.rows(ACTS)) == (OrderState.PENDING, [])
    done = send(client, path, asked.text)
    assert done.headers["Location"] == f"/orders/{bench.order('1').id}"
    assert said_after(done) == {"said": "Done: Settle by hand.", "refused": []}
    order = bench.order("1")
    assert (order.state, order.settled_by, order.ori_amount) == (
        *(OrderState.SUCCEEDED, Source.OPERATOR, Decimal("29.4")),
    )
    assert order.attention is None
    assert last_act(bench) == ("ann", "resolve", "default", "ticket 77")
    event = bench.events_of("1")[-1]
    assert (event["actor"], event["detail"]) == ("ann", "was unknown_status: ticket 77")


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ({"state": "succeeded", "amount": "2.94", "reason": " "}, "Say why"),
        ({"state": "succeeded", "amount": "", "reason": "x"}, "Write an amount"),
        ({"state": "failed", "amount": "two", "reason": "x"}, "Write an amount"),
        ({"state": "pending", "amount": "2.94", "reason": "x"}, "Choose one"),
        ({"amount": "2.94", "reason": "x\ny"}, "Say why"),
    ],
)
def test_what_is_typed_wrongly_is_kept_beside_its_fault_and_nothing_is_done(
    bench: Workbench, client: FlaskClient, typed: dict[str, str], fault: str
) -> None:
    bench.add("1")
    for confirmed in (False, True):
        answer = press(client, act_path(bench, "1", "resolve"), confirmed=confirmed, **typed)
        assert answer.status_code == 400
        assert fault in answer.text
        assert f'value="{typed["amount"]}"' in answer.text
    assert bench.rows(EVENTS) == []


def test_an_order_that_has_changed_since_it_was_shown_is_not_acted_on(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    unresolve(bench, "1")
    path = act_path(bench, "1", "resolve")
    typed: dict[str, Any] = {"state": "failed", "amount": "", "reason": "ticket 77"}
    asked = press(client, path, confirmed=False, **typed)
    bench.intake.record_callbacks([callback("1", status="0")])
    answer = send(client, path, asked.text)
    assert answer.status_code == 409
    assert "This has changed meanwhile" in answer.text
    assert 'value="ticket 77"' in answer.text
    assert bench.order("1").state is OrderState.UNRESOLVED
    # Once it was looked at again, it can be done.
    assert is_done(send(client, path, answer.text, **typed))
    assert bench.order("1").state is OrderState.FAILED


def test_a_poll_that_brought_no_news_is_in_no_operators_way(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2")
    bench.reconcile([item("1", status="0", amount=None), item("2", status="7")])
    for name, act in (("1", "check"), ("2", "dismiss"), ("1", "resolve")):
        path = act_path(bench, name, act)
        asked = client.get(path).text
        version = bench.order(name).version
        bench.make_due()
        bench.reconcile([item("1", status="0", amount=None), item("2", status="7")])
        assert bench.order(name).version > version
        assert is_done(send(client, path, asked, state="failed", amount="", reason="ticket 77"))


def test_what_was_heard_since_an_order_was_shown_is_seen_before_it_is_dismissed(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    bench.reconcile([item("1")])
    bench.intake.record_callbacks([callback("1", "-1", "0")])
    path = act_path(bench, "1", "dismiss")
    asked = client.get(path).text
    # The same attention, for another reason.
    bench.intake.record_callbacks([callback("1", "1", "9.99")])
    assert send(client, path, asked).status_code == 409
    assert bench.order("1").attention is Attention.LATE_CONFLICT
    # The same again is nothing new.
    asked = client.get(path).text
    bench.intake.record_callbacks([callback("1", "1", "9.99")])
    assert is_done(send(client, path, asked, reason="both are right"))
    assert bench.events_of("1")[-1]["detail"] == "late_conflict: both are right"


def test_what_the_platform_has_settled_is_reopened_only_by_who_has_asked_it(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    bench.reconcile([item("1")])
    path = act_path(bench, "1", "reopen")
    refused = press(client, path, reason="x")
    assert (refused.status_code, "Ask the platform first" in refused.text) == (400, True)
    assert bench.order("1").state is OrderState.SUCCEEDED
    assert is_done(press(client, path, reason="asked", force="yes"))
    assert (bench.order("1").state, bench.order("1").ori_amount) == (OrderState.PENDING, None)
    assert last_act(bench) == ("ann", "reopen", "default", "asked")


def test_what_a_link_says_fills_in_no_field(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2")
    bench.reconcile([item("1")])
    asked = client.get(f"{act_path(bench, '1', 'reopen')}?force=yes&reason=theirs").text
    assert "checked" not in asked
    assert 'value="theirs"' not in asked
    path = f"{act_path(bench, '2', 'resolve')}?amount=0.01&reason=theirs"
    press(client, path, state="succeeded", amount="2.94", reason="ours")
    assert bench.order("2").ori_amount == Decimal("2.94")
    assert last_act(bench)[3] == "ours"


@pytest.mark.parametrize(
    "path",
    [
        "/orders/999/acts/cancel",
        "/orders/1/acts/delete",
        f"/orders/{2**64}/acts/cancel",
        f"/rejected/{2**64}/retry",
        "/notifications/endpoints/pause?account=%00",
        *(f"/accounts/pause?account={name}" for name in ("%00", "nobody")),
    ],
)
def test_what_does_not_exist_is_not_found(bench: Workbench, client: FlaskClient, path: str) -> None:
    assert bench.add("1")[0].id == 1
    assert client.get(path).status_code == 404


def test_orders_are_cancelled_dismissed_checked_and_resent(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    bench.add("1", "2", "3", "4")
    unresolve(bench, "1")
    bench.run("UPDATE recharge_orders SET attention = 'too_old' WHERE request_id = '2'")
    bench.intake.record_callbacks([callback("4")])
    bench.run("DELETE FROM notifications")
    for name, act, reason in (("1", "cancel", ""), ("2", "dismiss", ""), ("3", "check", ""), ("4", "resend", "asked")):
        assert is_done(press(client, act_path(bench, name, act), reason=reason))
        assert last_act(bench) == ("ann", act, "default", reason or None)
    assert bench.order("1").state is OrderState.CANCELLED
    assert (bench.order("2").state, bench.order("2").attention) == (OrderState.PENDING, None)
    assert bench.order("3").check_requested_at is not None
    assert [one.type for one in told_of(bench, "4")] == ["order.succeeded"]


def test_what_the_transaction_refuses_is_said_on_the_next_page(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    bench.intake.record_callbacks([callback("1")])
    said = said_after(press(client, act_path(bench, "1", "resend")))
    assert said["said"] == "Nothing was done."
    assert "has no endpoint" in said["refused"][0]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("resolve", "is Succeeded already"),
        ("cancel", "is Succeeded already"),
        ("dismiss", "has no attention to dismiss"),
        ("check", "is Succeeded already"),
    ],
)
def test_what_makes_no_sense_any_more_is_refused_and_has_no_button(
    bench: Workbench, client: FlaskClient, act: str, words: str
) -> None:
    bench.add("1", expected_amount="2.94")
    bench.reconcile([item("1", status="7")])
    path = act_path(bench, "1", act)
    page = client.get(path).text
    bench.intake.record_callbacks([callback("1")])
    bench.run("UPDATE recharge_orders SET attention = NULL")
    before = in_all_tables(bench)
    answer = send(client, path, page, reason="x", state="failed", amount="")
    assert answer.status_code == 409
    assert words in answer.text
    assert words in client.get(path).text
    assert "reopen it first" not in answer.text
    assert 'value="yes"' not in answer.text
    assert in_all_tables(bench) == before


@pytest.mark.parametrize(("act", "state"), [("reopen", "cancelled"), ("check", "pending")])
def test_no_order_of_an_account_outside_the_settings_is_reopened_or_checked(
    bench: Workbench, client: FlaskClient, act: str, state: str
) -> None:
    bench.add("1")
    bench.run("UPDATE recharge_orders SET account = 'shop', state = :state", state=state)
    assert "its account shop is not in the settings" in client.get(act_path(bench, "1", act)).text


# ---- accounts and slots


@pytest.mark.parametrize(
    ("hours", "said"), [(1, "default is paused until 20"), (None, "paused until somebody resumes it")]
)
def test_an_account_is_paused_and_resumed(bench: Workbench, client: FlaskClient, hours: int | None, said: str) -> None:
    unsaid = press(client, PAUSE)
    assert unsaid.status_code == 400
    assert "Say why" in unsaid.text
    assert "It is not paused" in client.get(RESUME).text
    ends = None if hours is None else (bench.now() + timedelta(hours=hours)).replace(second=0, microsecond=0)
    until = f"{ends.astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%dT%H:%M}" if ends else ""
    assert said in said_after(press(client, PAUSE, until=until, reason="maintenance"))["said"]
    (pause,) = bench.state().pauses
    assert (pause.paused_by, pause.paused_until, pause.is_planned) == ("ann", ends, False)
    assert last_act(bench) == ("ann", "pause", "default", "maintenance")
    assert said_after(press(client, RESUME))["said"] == "Done: default is polled again."
    assert bench.state().pauses == ()


def test_a_back_off_is_ended_unless_the_platform_asked_for_it(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    bench.write_back.failed(bench.take(), HttpError(502))
    assert "Backs off until" in client.get(RESUME).text
    ends = bench.state().backoff_until
    assert ends is not None
    assert said_after(press(client, RESUME, reason="corrected"))["said"] == "Done: default is polled again."
    assert bench.state().backoff_until is None
    assert last_act(bench) == ("ann", "resume", "default", "corrected")
    local = f"{ends.astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%d %H:%M:%S}"
    assert f"ended a back-off until {local}" in client.get("/acts").text
    assert "does not wait after a failure" in client.get(RESUME).text
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.write_back.failed(bench.take(), Refused("-9", "查询过于频繁"))
    waiting = bench.state()
    assert press(client, RESUME).status_code == 409
    assert "the platform itself asked to wait" in client.get(RESUME).text
    press(client, PAUSE, reason="maintenance")
    assert "from 20" in said_after(press(client, RESUME))["said"]
    assert bench.state() == waiting


def test_all_slots_are_held(bench: Workbench, client: FlaskClient) -> None:
    before = bench.rows(BUDGETS)[0]["due_at"]
    assert "no query before" in said_after(press(client, "/hold", reason="restored"))["said"]
    assert bench.rows(BUDGETS)[0]["due_at"] > before
    assert last_act(bench) == ("ann", "hold", None, "restored")


# ---- many orders at once


def test_all_that_was_given_up_is_sent_once_more(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    bench.add("1", "2", "3")
    bench.intake.record_callbacks([callback(name) for name in ("1", "2", "3")])
    bench.run("UPDATE notifications SET state = 'gave_up', tries = 10 WHERE id <= :last", last=told_of(bench)[1].row.id)
    path = "/orders/acts/resend?scope=given-up&account=default&next=/notifications"
    assert f'href="{html.escape(path)}"' in client.get("/notifications").text
    assert "Resend: 2 orders" in client.get(path).text
    assert "2 of 2 orders: 2 done, 0 refused." in press(client, path, reason="receiver is corrected").text
    assert {one.row.state for one in told_of(bench)} == {NotificationState.PENDING}
    assert last_act(bench) == ("ann", "resend", "default", "receiver is corrected")
    assert "There are none" in client.get(path).text


# ---- notifications and refused input


def test_notifications_of_an_account_are_paused_resumed_and_forgotten(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    put_notifications(bench, 3)
    for act in ("pause", "resume"):
        assert is_done(press(client, f"/notifications/endpoints/{act}?account=default", reason="x"))
        assert last_act(bench) == ("ann", f"{act}_notifications", "default", "x")
        assert (endpoint(bench).paused_at is not None) is (act == "pause")
    path = "/notifications/endpoints/forget?account=default"
    assert "3 notifications will never be sent." in client.get(path).text
    assert len(bench.rows(NOTIFICATIONS)) == 3
    assert "3 notifications went with it" in said_after(press(client, path, reason="moved"))["said"]
    assert bench.rows(NOTIFICATIONS) == []
    assert client.get(path).status_code == 404


def test_refused_input_is_retried(bench: Workbench, client: FlaskClient) -> None:
    bench.enqueue({"request_id": "1", "mobile": "18812340804"})
    bench.intake.enqueue_orders([{"request_id": "1", "mobile": "18812340805"}])
    (row,) = bench.rows(REJECTED)
    path = f"/rejected/{row['id']}/retry"
    assert "&#34;1&#34;" in client.get(path).text
    said = said_after(press(client, path))
    assert (said["said"], len(said["refused"])) == ("Taken in: 0.", 1)
    bench.run("UPDATE recharge_orders SET mobile = '18812340805'")
    (row,) = bench.rows(REJECTED)
    assert said_after(press(client, f"/rejected/{row['id']}/retry")) == {"said": "Taken in: 1.", "refused": []}
    assert bench.rows(REJECTED) == []
    assert last_act(bench)[:2] == ("ann", "retry")
    assert client.get(path).status_code == 404


# ---- who may, and what is said


def test_to_look_at_an_act_changes_nothing(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    unresolve(bench, "1")
    before = in_all_tables(bench)
    for act in ORDER_ACTS:
        assert press(client, act_path(bench, "1", act), confirmed=False, reason="x").status_code in (200, 400)
    assert in_all_tables(bench) == before


def test_what_was_done_is_said_once_and_never_as_markup(bench: Workbench, client: FlaskClient) -> None:
    client.set_cookie("done", "%7B%22said%22%3A%22%3Cb%3Edone%22%2C%22refused%22%3A%5B%22why%22%5D%7D")
    first = client.get("/").text
    assert "&lt;b&gt;done" in first
    assert "why" in first
    assert "&lt;b&gt;done" not in client.get("/").text
    for broken in ("%", "[]", "%7B%7D", "1"):
        client.set_cookie("done", broken)
        assert client.get("/").status_code == 200


def test_the_history_is_in_the_language_of_its_reader_and_what_has_no_code_as_it_was_written(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", expected_amount="2.94")
    bench.reconcile([item("1", amount="3")])
    path = f"/orders/{bench.order('1').id}"
    assert "charged 3.00, expected 2.94: {" in html.unescape(client.get(path).text)
    client.set_cookie("language", "zh")
    assert "实扣 3.00，应扣 2.94：{" in html.unescape(client.get(path).text)
    bench.run("UPDATE order_events SET detail_code = NULL, detail_values = NULL")
    assert "charged 3.00, expected 2.94: {" in html.unescape(client.get(path).text)


@pytest.mark.parametrize(
    ("viewer", "words"),
    [
        (ANN, None),
        (READER, "To act takes a user with the role"),
        (Viewer(name=None), "Without a sign-in"),
    ],
)
def test_pages_offer_acts_that_make_sense_to_who_may_act_and_tell_others_why_not(
    bench: Workbench, viewer: Viewer, words: str | None
) -> None:
    put_endpoint(bench)
    final, pending = bench.add("1", "2")
    bench.reconcile([item("1")])
    bench.intake.cancel_orders([{"request_id": "3"}])
    (row,) = bench.rows(REJECTED)
    offers: Mapping[str, set[str]] = {
        f"/orders/{final.id}": {f"/orders/{final.id}/acts/{act}" for act in ("reopen", "resend")},
        f"/orders/{pending.id}": {f"/orders/{pending.id}/acts/{act}" for act in ("resolve", "cancel", "check")},
        "/notifications": {"/notifications/endpoints/pause?account=default"},
        f"/rejected/{row['id']}": {f"/rejected/{row['id']}/retry"},
    }
    with console_of(bench.url, viewer) as client:
        client.set_cookie("language", "en")
        for path, offered in offers.items():
            page = client.get(path).text
            known = {*offered, *(f"{path}/acts/{act}" for act in ORDER_ACTS)}
            assert {one for one in known if f'href="{one}"' in page} == (offered if words is None else set()), path
            for act in offered:
                assert client.get(act).status_code == (200 if words is None else 403), act
        assert words is None or words in client.get(f"/orders/{final.id}").text
        for act in (PAUSE, RESUME, "/hold", "/orders/acts/reopen?scope=all&account=default"):
            assert client.get(act).status_code == (200 if words is None else 403), act


@pytest.mark.databases("postgresql", "mariadb")
def test_a_contradiction_that_is_being_committed_is_not_dismissed_unseen(client: FlaskClient, bench: Workbench) -> None:
    bench.add("1")
    bench.reconcile([item("1")])
    bench.intake.record_callbacks([callback("1", "-1", "0")])
    assert bench.order("1").attention is Attention.LATE_CONFLICT

    path = act_path(bench, "1", "dismiss")
    page = client.get(path).text
    with ThreadPoolExecutor(1) as threads:
        with bench.database.write() as connection:
            late = [callback("1", "1", "9.99")]
            record_callbacks_within(connection, bench.rules, bench.app_ids, late, bench.database.now(connection))
            pressed = threads.submit(send, client, path, page)
            eventually(lambda: is_waited_for(bench), "the act waits for the callback")
        pressed.result()
    assert bench.order("1").attention is Attention.LATE_CONFLICT
