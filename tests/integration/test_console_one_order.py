"""One order's page: which act it offers first, whose words are whose, notes; and the form that settles by hand."""

import re
from decimal import Decimal
from functools import partial
from html import unescape

import pytest
from flask.testing import FlaskClient

from tests.support.console import READER, console_of, press, said_after, send
from tests.support.notifying import put_endpoint, told_of
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from worker.database.tables import ACTS, EVENTS
from worker.domain.orders import operator_acts as acts
from worker.domain.records.operators import ActKind
from worker.domain.records.order_changes import EventKind
from worker.domain.records.orders import OrderState
from worker.operations.act_by_hand import Operator, act_on_orders

# Quick tests of the domain and of the commands run the same statements on PostgreSQL.
pytestmark = pytest.mark.quick_on("sqlite")

BUTTON = re.compile(r'<li class="(\w*)"><a class="button" href="[^"]*/acts/(\w+)">([^<]*)</a>')


def page_path(bench: Workbench, name: str) -> str:
    return f"/orders/{bench.order(name).id}"


def act_path(bench: Workbench, name: str, act: str) -> str:
    return f"{page_path(bench, name)}/acts/{act}"


def shown(client: FlaskClient, path: str) -> str:
    """What a reader sees of it, with single blanks."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", client.get(path).text)).split())


def offered(client: FlaskClient, path: str) -> list[tuple[str, str]]:
    """The acts in their order, each with its weight."""
    return [(act, weight) for weight, act, _ in BUTTON.findall(client.get(path).text)]


def unresolve(bench: Workbench, name: str) -> None:
    bench.run(
        "UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old' WHERE request_id = :name", name=name
    )


def settle(bench: Workbench, name: str, operator: str) -> None:
    decide = partial(acts.resolve, state=OrderState.FAILED, amount=None)
    who = Operator(name=operator, reason="ticket 78")
    assert list(act_on_orders(bench.database, who, ActKind.RESOLVE, [bench.order(name).id], decide))


# ---- what is offered


def test_the_act_that_is_needed_most_stands_first_and_of_a_final_order_none_has_weight(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", "2", "3")
    bench.reconcile([item("1")])
    bench.intake.record_callbacks([callback("1", "-1", "0")])
    unresolve(bench, "2")
    # An unresolved order needs a person in any case: its attention cannot be dismissed.
    assert offered(client, page_path(bench, "2"))[0] == ("resolve", "needed")
    assert "dismiss" not in dict(offered(client, page_path(bench, "2")))
    assert offered(client, page_path(bench, "3"))[0] == ("check", "needed")
    assert offered(client, page_path(bench, "1")) == [("dismiss", ""), ("resend", ""), ("reopen", "apart")]


def test_what_clears_a_result_has_its_own_name_and_says_what_is_lost(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2")
    bench.reconcile([item("1")])
    unresolve(bench, "2")
    for language, name, lost, plain in (
        (
            "en",
            "Clear the result and poll again",
            "This is lost: was Succeeded, by platform (query), charged 2.94",
            "Reopen",
        ),
        ("zh", "撤销结果并重查", "将丢失：原为：成功，平台（查询），实扣金额 2.94", "重新查询"),
    ):
        client.set_cookie("language", language)
        for name_of, order in ((name, "1"), (plain, "2")):
            names = {act: title for _, act, title in BUTTON.findall(client.get(page_path(bench, order)).text)}
            assert names["reopen"] == name_of
        page = shown(client, act_path(bench, "1", "reopen"))
        assert name in page
        assert lost in page
        assert lost.split("：")[0].split(":")[0] not in shown(client, act_path(bench, "2", "reopen"))


# ---- settling by hand


def test_the_expected_amount_is_filled_in(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", expected_amount="98")
    bench.add("2")
    assert 'name="amount" value="98.00"' in client.get(act_path(bench, "1", "resolve")).text
    assert 'name="amount" value=""' in client.get(act_path(bench, "2", "resolve")).text
    # What was cleared stays so.
    cleared = press(client, act_path(bench, "1", "resolve"), confirmed=False, state="", amount="", reason="x")
    assert 'name="amount" value=""' in cleared.text


@pytest.mark.parametrize(
    ("typed", "amount"), [("98元", "98"), ("￥98", "98"), ("1,960.00", "1960"), ("９８．５", "98.5")]
)
def test_an_amount_is_taken_as_people_write_it_and_shown_as_it_was_read(
    bench: Workbench, client: FlaskClient, typed: str, amount: str
) -> None:
    bench.add("1")
    path = act_path(bench, "1", "resolve")
    asked = press(client, path, confirmed=False, state="succeeded", amount=typed, reason="x")
    assert f"<dd>￥{Decimal(amount):.2f}<" in asked.text.replace("98.5<", "98.50<")
    assert not said_after(send(client, path, asked.text))["refused"]
    assert bench.order("1").ori_amount == Decimal(amount)


def test_a_failed_order_with_a_charge_is_warned_of(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", expected_amount="2.94")
    path = act_path(bench, "1", "resolve")
    warning = "A failed order with a charge"
    assert warning in press(client, path, confirmed=False, state="failed", amount="2.94", reason="x").text
    for state, amount in (("failed", ""), ("failed", "0"), ("succeeded", "2.94")):
        assert warning not in press(client, path, confirmed=False, state=state, amount=amount, reason="x").text


def test_from_the_preview_one_goes_back_to_the_form_with_what_was_typed(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", expected_amount="2.94")
    path = act_path(bench, "1", "resolve")
    asked = press(client, path, confirmed=False, state="failed", amount="98元", reason="ticket 77")
    assert "Change what was typed" in asked.text
    form = send(client, path, asked.text, confirmed=False, edit="yes")
    assert form.status_code == 200
    for held in ('value="failed" checked', 'name="amount" value="98元"', 'name="reason" value="ticket 77"'):
        assert held in form.text
    assert "Change what was typed" not in form.text
    assert bench.rows(EVENTS) == []


# ---- who did what


def test_a_stale_act_says_who_changed_what_and_when_and_advises_to_undo_nothing(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    bench.reconcile([item("1", status="7")])
    path = act_path(bench, "1", "resolve")
    asked = press(client, path, confirmed=False, state="succeeded", amount="2.94", reason="x")
    settle(bench, "1", "li")
    bench.intake.record_callbacks([callback("1", "1", "2.94")])
    for language, words in (
        (
            "en",
            [
                "operator li: Result → Failed",
                "platform (callback): Contradicts the result → Failed",
                "is Failed already",
            ],
        ),
        ("zh", ["操作员 li：结果已确认 → 失败", "平台（回调）：", "状态已是失败"]),
    ):
        client.set_cookie("language", language)
        answer = send(client, path, asked.text)
        assert answer.status_code == 409
        for one in words:
            assert one in unescape(answer.text)
        assert re.search(r"<li>20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", answer.text)
        assert not {"reopen it first", "重新查询"} & set(answer.text.split())
        # What was known when the page was shown is no news.
        assert answer.text.count("<li>20") == 2
    # Who comes later sees what happened last.
    assert "平台（回调）：" in client.get(path).text


def test_what_an_operator_typed_is_shown_as_the_operators_and_each_event_names_who(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    bench.intake.enqueue_orders([{"request_id": "1", "custom_parm": "C1"}])
    bench.reconcile([item("1", status="0", amount=None)])
    bench.run(
        "INSERT INTO order_events (order_id, at, kind, source)"
        f" VALUES ({bench.order('1').id}, '2026-01-01 00:00:00', 'gave_up', 'query')"
    )
    path = act_path(bench, "1", "resolve")
    asked = press(client, path, confirmed=False, state="succeeded", amount="89", reason="x")
    send(client, path, asked.text)
    page = shown(client, page_path(bench, "1"))
    for words in (
        "by billing system (submission)",
        "by platform (query)",
        "Polling stopped by worker",
        "by operator ann",
        "The operator entered: amount 89.00",
        "The platform said: status 0",
    ):
        assert words in page
    client.set_cookie("language", "zh")
    page = shown(client, page_path(bench, "1"))
    assert "操作员填写： 金额 89.00" in page
    assert "来源：操作员 ann" in page


# ---- notes


def test_a_note_stands_in_the_history_under_its_writers_name_and_changes_nothing(
    bench: Workbench, client: FlaskClient
) -> None:
    put_endpoint(bench)
    bench.add("1")
    bench.reconcile([item("1")])
    before, told = bench.order("1"), len(told_of(bench, "1"))
    done = press(client, act_path(bench, "1", "note"), reason="客户 <b>来电</b>")
    assert said_after(done) == {"said": "Done: Add a note.", "refused": []}
    assert done.headers["Location"] == page_path(bench, "1")
    assert (bench.order("1"), len(told_of(bench, "1"))) == (before, told)
    event, act = bench.events_of("1")[-1], bench.rows(ACTS)[-1]
    assert (event["kind"], event["actor"], event["detail"]) == (EventKind.NOTE, "ann", "客户 <b>来电</b>")
    assert (act["actor"], act["act"], act["reason"]) == ("ann", "note", "客户 <b>来电</b>")
    page = client.get(page_path(bench, "1")).text
    assert "客户 &lt;b&gt;来电&lt;/b&gt;" in page
    assert f'action="{act_path(bench, "1", "note")}"' in page
    with console_of(bench.url, READER) as reader:
        assert "客户" in reader.get(page_path(bench, "1")).text
        assert "/acts/note" not in reader.get(page_path(bench, "1")).text


def test_a_note_is_taken_whatever_has_happened_meanwhile_and_an_empty_one_is_not(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    path = act_path(bench, "1", "note")
    page = client.get(path).text
    settle(bench, "1", "li")
    empty = send(client, path, page, reason=" ")
    assert (empty.status_code, "Write 1 to 1,000 characters" in empty.text) == (400, True)
    assert not said_after(send(client, path, page, reason="called back"))["refused"]
    assert bench.events_of("1")[-1]["kind"] == EventKind.NOTE


# ---- one after the other


def test_the_list_that_an_order_was_opened_from_stays_in_the_address_of_its_acts(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1")
    held = "list=account%3Ddefault%26sort%3Doldest"
    page = client.get(f"{page_path(bench, '1')}?{held}").text
    path = f"{act_path(bench, '1', 'check')}?{held}"
    assert f'href="{path}"' in page
    assert f'action="{act_path(bench, "1", "note")}?{held}"' in page
    assert f'href="{page_path(bench, "1")}?{held}"' in client.get(path).text
    assert press(client, path).headers["Location"] == f"{page_path(bench, '1')}?{held}"
    assert "list=" not in client.get(act_path(bench, "1", "check")).text


def test_after_an_act_the_page_leads_to_the_next_order_of_the_same_list(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2", "3", "4")
    for name in "134":
        unresolve(bench, name)
    bench.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id = '3'")
    held, path = "list=account%3Ddefault%26sort%3Doldest", page_path(bench, "1")
    done = press(client, f"{path}/acts/cancel?{held}")
    page = client.get(done.headers["Location"]).text
    # It has left the list, and that of another account is not in it.
    assert f'rel="next" href="{page_path(bench, "4")}?{held}"' in page
    assert 'href="/attention?account=default&amp;sort=oldest"' in page
    last = client.get(f"{page_path(bench, '4')}?{held}").text
    assert "This is the last order of the list." in last
    assert 'rel="next"' not in last
    assert "of the list" not in client.get(path).text
