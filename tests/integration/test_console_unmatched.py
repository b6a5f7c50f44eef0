"""An unmatched callback in the console: seen, linked to an order by the rules of every callback, or dismissed."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.console import press, said_after, send
from tests.support.reconciling import Workbench
from worker.database.tables import ACTS, EVENTS, UNMATCHED
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.orders import OrderState, Source
from worker.operations.act_by_hand import Operator
from worker.operations.act_on_rejected_and_unmatched import dismiss_kept_callback

pytestmark = pytest.mark.quick_on("sqlite")

SAID = {"requestId": "r9", "appid": "app-1", "trafficSts": "1", "oriAmount": "2.94", "mobile": "188****0804"}
LINK, DISMISS = "/unmatched/1/link", "/unmatched/1/dismiss"


def keep(bench: Workbench, **said: Any) -> None:
    """Have an order that is known by its own number, and a callback that names another one."""
    bench.enqueue({"custom_parm": "c-1", "mobile": "18812340804", "expected_amount": "2.94"})
    bench.intake.record_callbacks([{**SAID, **said}])
    assert [row["id"] for row in bench.rows(UNMATCHED)] == [1]


def acts_of(bench: Workbench) -> list[tuple[str, str, str | None]]:
    return [(act["actor"], act["act"], act["reason"]) for act in bench.rows(ACTS)]


@pytest.mark.parametrize("number", ["c-1", "ｃ-１ ", "id:1"])
def test_a_callback_is_linked_after_the_order_and_what_it_changes_were_seen(
    bench: Workbench, client: FlaskClient, number: str
) -> None:
    keep(bench)
    assert f'href="{LINK}"' in client.get("/unmatched/1").text
    asked = press(client, LINK, confirmed=False, order=number, reason="ticket 77")
    for words in ("18812340804", "Pending → Succeeded", "— → ￥2.94", "— → r9", "ticket 77"):
        assert words in asked.text
    assert (bench.orders()[0].state, acts_of(bench)) == (OrderState.PENDING, [])
    done = send(client, LINK, asked.text)
    assert done.headers["Location"] == "/orders/1"
    assert said_after(done) == {"said": "Done: Link to an order.", "refused": []}
    (order,) = bench.orders()
    assert (order.state, order.settled_by, order.request_id) == (OrderState.SUCCEEDED, Source.CALLBACK, "r9")
    assert [(event["kind"], event["actor"]) for event in bench.rows(EVENTS)] == [("linked", "ann"), ("settled", None)]
    assert acts_of(bench) == [("ann", "link", "ticket 77")]
    assert bench.rows(UNMATCHED) == []
    assert client.get("/unmatched/1").status_code == 404
    # The button is pressed once more.
    assert send(client, LINK, asked.text).status_code == 404
    assert len(bench.rows(ACTS)) == 1


@pytest.mark.parametrize(
    ("said", "number", "fault"),
    [
        ({"mobile": "188****0805"}, "c-1", "mobile 188****0805 cannot be the order"),
        ({"mobile": None}, "c-1", "the callback shows neither an id nor the phone of the order"),
        ({"customParm": "c-9"}, "c-1", "customParm c-9 is not the order"),
        ({}, "id:2", "the callback is of the account default"),
        ({}, "x", "its account has no such order"),
        ({}, "n-1", "its account has no such order"),
        ({}, "a,b", "its account has no such order"),
        ({}, f"id:{'9' * 5000}", "There is nothing here"),
        ({}, "", "its account has no such order"),
    ],
)
def test_what_is_not_about_the_order_is_refused_beside_what_was_typed_and_stays(
    bench: Workbench, client: FlaskClient, said: dict[str, Any], number: str, fault: str
) -> None:
    keep(bench, **said)
    bench.add("n-1")
    bench.run("UPDATE recharge_orders SET account = 'north' WHERE request_id = 'n-1'")
    for confirmed in (False, True):
        answer = press(client, LINK, confirmed=confirmed, order=number, reason="")
        assert answer.status_code == (404 if len(number) > 64 else 400)
        assert fault in answer.text
    assert {order.state for order in bench.orders()} == {OrderState.PENDING}
    assert len(bench.rows(UNMATCHED)) == 1
    assert bench.rows(EVENTS) == []
    assert bench.rows(ACTS) == []


def test_what_would_become_of_an_order_is_seen_again_where_that_has_changed(
    bench: Workbench, client: FlaskClient
) -> None:
    keep(bench)
    asked = press(client, LINK, confirmed=False, order="c-1", reason="")
    bench.run("UPDATE recharge_orders SET state = 'failed', settled_at = submitted_at, settled_by = 'query'")
    answer = send(client, LINK, asked.text)
    assert answer.status_code == 409
    assert "This has changed meanwhile" in answer.text
    again = press(client, LINK, confirmed=False, order="c-1", reason="")
    assert "— → Another result came later" in again.text
    assert not said_after(send(client, LINK, again.text))["refused"]
    assert bench.orders()[0].state is OrderState.FAILED


def test_a_callback_that_is_only_a_hint_has_its_order_polled(bench: Workbench, client: FlaskClient) -> None:
    keep(bench)
    bench.run("UPDATE unmatched_callbacks SET trust = 'check'")
    bench.run("UPDATE recharge_orders SET due_at = '2100-01-01 00:00:00'")
    asked = press(client, LINK, confirmed=False, order="c-1", reason="")
    assert "only has its order checked" in asked.text
    assert "Succeeded" not in asked.text
    send(client, LINK, asked.text)
    (order,) = bench.orders()
    assert (order.state, order.due_at <= bench.now()) == (OrderState.PENDING, True)


def test_a_callback_is_dismissed_with_a_reason_and_the_act_keeps_what_it_said(
    bench: Workbench, client: FlaskClient
) -> None:
    keep(bench)
    assert press(client, DISMISS, reason="").status_code == 400
    assert len(bench.rows(UNMATCHED)) == 1
    assert not said_after(press(client, DISMISS, reason="of a test"))["refused"]
    assert bench.rows(UNMATCHED) == []
    assert acts_of(bench) == [("ann", "dismiss_callback", "of a test")]
    assert '"requestId": "r9"' in bench.rows(ACTS)[0]["detail"]
    assert "There is nothing that matches." in client.get("/unmatched").text


def test_what_is_done_twice_is_done_once(bench: Workbench) -> None:
    keep(bench)
    ann = Operator(name="ann", reason="x")
    assert dismiss_kept_callback(bench.database, ann, 1) is None
    again = (dismiss_kept_callback(bench.database, ann, 1), bench.intake.link_callback(ann, 1, 1))
    assert again == (CodedText(TextCode.NO_CALLBACK),) * 2
    assert len(bench.rows(ACTS)) == 1
