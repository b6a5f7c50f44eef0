"""Acts in the console: what they ask, what they do, and what is left of them in the database."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.support.archiving import callback
from tests.support.console import ANN, READER, console_of, press, said_after, send
from tests.support.notifying import put_endpoint, put_notifications, told_of
from tests.support.reconciling import Workbench, item
from worker.database.tables import ACTS, BUDGETS, EVENTS, NOTIFICATIONS, REJECTED
from worker.domain.records.access import Viewer
from worker.domain.records.notifications import Endpoint, NotificationState
from worker.domain.records.orders import Attention, OrderState, Source
from worker.domain.records.query_errors import HttpError, Refused
from worker.stores.notify_endpoints import read_endpoints

ORDER_ACTS = ("resolve", "reopen", "cancel", "dismiss", "check", "resend")


@pytest.fixture
def client(bench: Workbench) -> Iterator[FlaskClient]:
    with console_of(bench.url) as opened:
        opened.set_cookie("language", "en")
        yield opened


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


def endpoints(bench: Workbench) -> dict[str, Endpoint]:
    with bench.database.read() as connection:
        return read_endpoints(connection)


def in_all_tables(bench: Workbench) -> list[list[dict[str, Any]]]:
    return [bench.rows(table) for table in (ACTS, EVENTS, NOTIFICATIONS, BUDGETS, REJECTED)]


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
    assert bench.order("1").state is OrderState.PENDING
    assert bench.rows(ACTS) == []
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
    assert "The order has changed meanwhile" in answer.text
    assert 'value="ticket 77"' in answer.text
    assert bench.order("1").state is OrderState.UNRESOLVED
    # Once it was looked at again, it can be done.
    assert said_after(send(client, path, answer.text, **typed))["refused"] == []
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
        done = send(client, path, asked, state="failed", amount="", reason="ticket 77")
        assert said_after(done)["refused"] == []


def test_what_was_heard_since_an_order_was_shown_is_seen_before_it_is_dismissed(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    bench.reconcile([item("1")])
    bench.intake.record_callbacks([callback("1", "-1", "0")])
    asked = client.get(act_path(bench, "1", "dismiss")).text
    # The same attention, for another reason.
    bench.intake.record_callbacks([callback("1", "1", "9.99")])
    assert send(client, act_path(bench, "1", "dismiss"), asked).status_code == 409
    assert bench.order("1").attention is Attention.LATE_CONFLICT
    # The same again is nothing new.
    asked = client.get(act_path(bench, "1", "dismiss")).text
    bench.intake.record_callbacks([callback("1", "1", "9.99")])
    assert said_after(send(client, act_path(bench, "1", "dismiss"), asked))["refused"] == []


def test_what_the_platform_has_settled_is_reopened_only_by_who_has_asked_it(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    bench.reconcile([item("1")])
    path = act_path(bench, "1", "reopen")
    refused = press(client, path, reason="x")
    assert refused.status_code == 400
    assert "Ask the platform first" in refused.text
    assert bench.order("1").state is OrderState.SUCCEEDED
    assert said_after(press(client, path, reason="asked", force="yes"))["refused"] == []
    order = bench.order("1")
    assert (order.state, order.ori_amount) == (OrderState.PENDING, None)
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
        f"/orders/{2**64}/acts/cancel",
        f"/rejected/{2**64}/retry",
        "/notifications/endpoints/pause?account=%00",
        "/notifications/resend-given-up?account=%00",
        "/accounts/pause?account=%00",
    ],
)
def test_what_no_database_takes_is_not_found(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_orders_are_cancelled_dismissed_and_checked(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2", "3")
    unresolve(bench, "1", "2")
    for name, act in (("1", "cancel"), ("2", "dismiss"), ("3", "check")):
        assert said_after(press(client, act_path(bench, name, act), reason=""))["refused"] == []
        assert last_act(bench) == ("ann", act, "default", None)
    assert bench.order("1").state is OrderState.CANCELLED
    assert (bench.order("2").state, bench.order("2").attention) == (OrderState.UNRESOLVED, None)
    assert bench.order("3").check_requested_at is not None


def test_an_order_is_sent_to_the_billing_system_once_more(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    bench.add("1")
    bench.intake.record_callbacks([callback("1")])
    bench.run("DELETE FROM notifications")
    assert said_after(press(client, act_path(bench, "1", "resend"), reason="asked for"))["refused"] == []
    assert [one.type for one in told_of(bench, "1")] == ["order.succeeded"]
    assert last_act(bench) == ("ann", "resend", "default", "asked for")


def test_what_the_transaction_refuses_is_said_on_the_next_page(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    bench.intake.record_callbacks([callback("1")])
    said = said_after(press(client, act_path(bench, "1", "resend")))
    assert said["said"] == "Nothing was done."
    assert "has no endpoint" in said["refused"][0]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("resolve", "Its state is: "),
        ("cancel", "Its state is: "),
        ("dismiss", "It needs nobody"),
        ("check", "It is not pending any more"),
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
    assert 'value="yes"' not in answer.text
    assert in_all_tables(bench) == before


def test_an_order_of_an_account_that_nobody_polls_is_not_reopened_or_checked(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", "2")
    bench.run("UPDATE recharge_orders SET account = 'shop', state = 'cancelled' WHERE request_id = '1'")
    bench.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id = '2'")
    for name, act in (("1", "reopen"), ("2", "check")):
        assert "Its account is not in the settings" in client.get(act_path(bench, name, act)).text
    assert bench.rows(EVENTS) == []


def test_unknown_orders_and_acts_are_not_found(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    for path in ("/orders/999/acts/cancel", act_path(bench, "1", "delete"), "/accounts/pause?account=nobody"):
        assert client.get(path).status_code == 404


# ---- accounts and slots


def test_an_account_is_paused_for_a_time_and_resumed(bench: Workbench, client: FlaskClient) -> None:
    unsaid = press(client, "/accounts/pause?account=default")
    assert unsaid.status_code == 400
    assert "Choose one" in unsaid.text
    assert "Say why" in unsaid.text
    assert "It is not paused" in client.get("/accounts/resume?account=default").text
    assert (
        "paused until 20"
        in said_after(press(client, "/accounts/pause?account=default", lasts="1h", reason="maintenance"))["said"]
    )
    state = bench.state()
    assert state.paused_at is not None
    assert state.paused_until is not None
    assert (state.paused_by, (state.paused_until - state.paused_at).total_seconds()) == ("ann", 3600)
    assert last_act(bench) == ("ann", "pause", "default", "maintenance")
    assert said_after(press(client, "/accounts/resume?account=default"))["said"] == "Done: default is queried again."
    assert bench.state().paused_at is None


def test_a_pause_without_an_end_lasts_until_somebody_resumes_it(bench: Workbench, client: FlaskClient) -> None:
    press(client, "/accounts/pause?account=default", lasts="until-resumed", reason="x")
    state = bench.state()
    assert (state.paused_at is not None, state.paused_until) == (True, None)


def test_a_back_off_is_ended_unless_the_platform_asked_for_it(bench: Workbench, client: FlaskClient) -> None:
    resume = "/accounts/resume?account=default"
    bench.add("1")
    bench.write_back.failed(bench.take(), HttpError(502))
    assert "Backs off until" in client.get(resume).text
    assert said_after(press(client, resume, reason="corrected"))["said"] == "Done: default is queried again."
    assert bench.state().backoff_until is None
    assert last_act(bench) == ("ann", "resume", "default", "corrected")
    assert "ended a back-off until" in client.get("/acts").text
    assert "does not wait after a failure" in client.get(resume).text
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.write_back.failed(bench.take(), Refused("-9", "查询过于频繁"))
    waiting = bench.state()
    assert press(client, resume).status_code == 409
    assert "the platform itself asked to wait" in client.get(resume).text
    press(client, "/accounts/pause?account=default", lasts="1h", reason="maintenance")
    assert "from 20" in said_after(press(client, resume))["said"]
    assert bench.state() == waiting


def test_all_slots_are_held(bench: Workbench, client: FlaskClient) -> None:
    before = bench.rows(BUDGETS)[0]["due_at"]
    assert "no query before" in said_after(press(client, "/hold", reason="restored"))["said"]
    assert bench.rows(BUDGETS)[0]["due_at"] > before
    assert last_act(bench) == ("ann", "hold", None, "restored")


# ---- many orders at once


def test_all_unresolved_orders_of_an_account_are_reopened_once_their_number_was_shown(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", "2", "3", "4")
    unresolve(bench, "1", "2")
    path = "/orders/reopen-unresolved?account=default"
    page = client.get(path).text
    assert "Reopen 2 orders" in page
    unresolve(bench, "3")
    grown = send(client, path, page, reason="platform is back")
    assert grown.status_code == 409
    assert "There are more by now" in grown.text
    assert "Reopen 3 orders" in grown.text
    assert bench.order("1").state is OrderState.UNRESOLVED
    assert "3 orders are pending again" in said_after(send(client, path, grown.text, reason="platform is back"))["said"]
    assert {order.state for order in bench.orders()} == {OrderState.PENDING}
    assert last_act(bench) == ("ann", "reopen", "default", "platform is back")
    assert "There are none" in client.get(path).text


def test_all_that_was_given_up_is_sent_once_more(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    bench.add("1", "2", "3")
    bench.intake.record_callbacks([callback(name) for name in ("1", "2", "3")])
    gave_up = [one.row.id for one in told_of(bench)[:2]]
    with bench.database.write() as connection:
        chosen = NOTIFICATIONS.c.id.in_(gave_up)
        connection.execute(update(NOTIFICATIONS).where(chosen).values(state=NotificationState.GAVE_UP, tries=10))
    assert "Resend for 2 orders" in client.get("/notifications/resend-given-up").text
    said = said_after(press(client, "/notifications/resend-given-up?account=default", reason="receiver is corrected"))
    assert said["said"] == "Done: 2 notifications will be sent once more."
    assert {one.row.state for one in told_of(bench)} == {NotificationState.PENDING}
    assert last_act(bench) == ("ann", "resend", "default", "receiver is corrected")
    assert "There are none" in client.get("/notifications/resend-given-up").text


# ---- notifications and refused input


def test_notifications_of_an_account_are_paused_resumed_and_forgotten(bench: Workbench, client: FlaskClient) -> None:
    put_endpoint(bench)
    put_notifications(bench, 3)
    for act, kind in (("pause", "pause_notifications"), ("resume", "resume_notifications")):
        assert said_after(press(client, f"/notifications/endpoints/{act}?account=default", reason="x"))["refused"] == []
        assert last_act(bench) == ("ann", kind, "default", "x")
    assert endpoints(bench)["default"].paused_at is None
    path = "/notifications/endpoints/forget?account=default"
    assert "3 notifications will never be sent." in client.get(path).text
    assert len(bench.rows(NOTIFICATIONS)) == 3
    assert "3 notifications went with it" in said_after(press(client, path, reason="moved"))["said"]
    assert (endpoints(bench), bench.rows(NOTIFICATIONS)) == ({}, [])
    assert client.get(path).status_code == 404


def test_refused_input_is_retried(bench: Workbench, client: FlaskClient) -> None:
    bench.intake.cancel_orders([{"request_id": "1"}])
    (row,) = bench.rows(REJECTED)
    path = f"/rejected/{row['id']}/retry"
    assert "&#34;1&#34;" in client.get(path).text
    said = said_after(press(client, path))
    assert said["said"] == "Taken in: 0."
    assert len(said["refused"]) == 1
    bench.add("1")
    (row,) = bench.rows(REJECTED)
    assert said_after(press(client, f"/rejected/{row['id']}/retry")) == {"said": "Taken in: 1.", "refused": []}
    assert bench.rows(REJECTED) == []
    assert bench.order("1").state is OrderState.CANCELLED
    assert last_act(bench)[:2] == ("ann", "retry")
    assert client.get(path).status_code == 404


# ---- who may, and what is said


@pytest.mark.parametrize("viewer", [READER, Viewer(name=None)])
def test_who_may_only_read_is_refused_every_act(bench: Workbench, viewer: Viewer) -> None:
    bench.add("1")
    put_endpoint(bench)
    paths = [
        *(act_path(bench, "1", act) for act in ORDER_ACTS),
        *(f"/accounts/{act}?account=default" for act in ("pause", "resume")),
        *(f"/notifications/endpoints/{act}?account=default" for act in ("pause", "resume", "forget")),
        *("/hold", "/orders/reopen-unresolved?account=default", "/notifications/resend-given-up", "/rejected/1/retry"),
    ]
    before = in_all_tables(bench)
    typed = {"confirmed": "yes", "reason": "x", "state": "failed", "lasts": "1h", "version": "1", "count": "9"}
    with console_of(bench.url, viewer) as client:
        for path in paths:
            assert client.get(path).status_code == 403, path
            assert client.post(path, data=typed).status_code == 403, path
    assert in_all_tables(bench) == before


def test_to_look_at_an_act_changes_nothing(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    unresolve(bench, "1")
    before = in_all_tables(bench)
    for act in ORDER_ACTS:
        answer = press(client, act_path(bench, "1", act), confirmed=False, reason="x")
        assert answer.status_code in (200, 400)
    assert in_all_tables(bench) == before


def test_what_was_done_is_said_once_and_never_as_markup(bench: Workbench, client: FlaskClient) -> None:
    client.set_cookie("done", "%7B%22said%22%3A%22%3Cb%3Edone%22%2C%22refused%22%3A%5B%22why%22%5D%7D")
    first = client.get("/").text
    assert "&lt;b&gt;done" in first
    assert "why" in first
    assert "&lt;b&gt;done" not in client.get("/").text


@pytest.mark.parametrize("cookie", ["%", "[]", "%7B%7D", "1"])
def test_a_broken_note_of_what_was_done_is_ignored(bench: Workbench, client: FlaskClient, cookie: str) -> None:
    client.set_cookie("done", cookie)
    assert client.get("/").status_code == 200


def test_the_reason_is_asked_for_in_chinese(bench: Workbench) -> None:
    bench.add("1")
    with console_of(bench.url, ANN) as client:
        client.set_cookie("language", "zh")
        answer = press(client, act_path(bench, "1", "resolve"), confirmed=False)
    for words in ("人工确认结果", "请填写原因", "请选择一项"):
        assert words in answer.text


def test_attention_of_an_order_is_dismissed_with_its_reason_in_the_history(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", expected_amount="2.94")
    bench.reconcile([item("1", amount="3")])
    assert bench.order("1").attention is Attention.AMOUNT_MISMATCH
    press(client, act_path(bench, "1", "dismiss"), reason="the price has changed")
    assert bench.events_of("1")[-1]["detail"] == "amount_mismatch: the price has changed"


def test_the_pages_offer_their_acts_to_who_may_act(bench: Workbench) -> None:
    put_endpoint(bench)
    bench.add("1")
    bench.intake.cancel_orders([{"request_id": "2"}])
    (row,) = bench.rows(REJECTED)
    offers = {
        f"/orders/{bench.order('1').id}": act_path(bench, "1", "check"),
        "/notifications": "/notifications/endpoints/pause?account=default",
        f"/rejected/{row['id']}": f"/rejected/{row['id']}/retry",
    }
    for viewer, is_offered in ((ANN, True), (READER, False)):
        with console_of(bench.url, viewer) as opened:
            for path, offered in offers.items():
                assert (f'href="{offered}"' in opened.get(path).text) is is_offered, path


def test_an_order_offers_only_what_makes_sense_for_it(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2")
    bench.reconcile([item("1")])
    for name, offered in (("1", {"reopen", "resend"}), ("2", {"resolve", "cancel", "check"})):
        page = client.get(f"/orders/{bench.order(name).id}").text
        assert {act for act in ORDER_ACTS if f'href="{act_path(bench, name, act)}"' in page} == offered


def test_who_may_only_read_is_told_why_there_is_no_button(bench: Workbench) -> None:
    bench.add("1")
    for viewer, words in ((READER, "To act takes a user with the role"), (Viewer(name=None), "Without a sign-in")):
        with console_of(bench.url, viewer) as opened:
            opened.set_cookie("language", "en")
            assert words in opened.get(f"/orders/{bench.order('1').id}").text
