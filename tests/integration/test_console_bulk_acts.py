"""Acts on many orders in the console: what is shown before, what is done, refused and recorded."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update
from werkzeug.test import TestResponse

from tests.support.console import READER, console_of, hidden_fields, press, send
from tests.support.notifying import put_endpoint, told_of
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from tests.support.visitors import ACTOR, console_process, write_users
from worker.database.tables import ACTS, EVENTS, SELECTIONS
from worker.domain.records.orders import Attention, OrderState
from worker.operations.record_callbacks import record_callbacks_within
from worker.stores.operators import read_orders_acted_on

ALL_UNRESOLVED = "scope=all&state=unresolved"


def unresolve(bench: Workbench, *names: str, attention: str | None = "too_old") -> None:
    for name in names:
        bench.run(
            "UPDATE recharge_orders SET state = 'unresolved', attention = :attention WHERE request_id = :name",
            name=name,
            attention=attention,
        )


def flag(bench: Workbench, *names: str) -> None:
    """Have pending orders need a person."""
    for name in names:
        bench.run("UPDATE recharge_orders SET attention = 'too_old' WHERE request_id = :name", name=name)


def act(kind: str, query: str) -> str:
    return f"/orders/acts/{kind}?{query}"


def ticked(bench: Workbench, *names: str) -> str:
    return "&".join(f"order={bench.order(name).id}" for name in names)


def finish(client: FlaskClient, path: str, answer: TestResponse) -> tuple[TestResponse, int]:
    """Go on as the page does by itself, to its end; the last page, and how many requests it took."""
    requests = 1
    while "plan" in hidden_fields(answer.text):
        assert answer.status_code == 200, answer.text
        answer = client.post(path, data=hidden_fields(answer.text))
        requests += 1
    return answer, requests


def said(answer: TestResponse) -> str:
    return unescape(answer.text).split('role="status">')[-1].split("</p>")[0]


def acts_of(bench: Workbench) -> list[tuple[str, str, str | None, int]]:
    return [(one["actor"], one["act"], one["reason"], one["order_count"]) for one in bench.rows(ACTS)]


def test_the_list_offers_ticks_and_acts_to_who_may_act_alone(bench: Workbench, client: FlaskClient) -> None:
    (order,) = bench.add("1")
    page = client.get("/orders?account=default").text
    assert f'name="order" value="{order.id}"' in page
    for kind in ("dismiss", "check", "reopen", "cancel", "resend"):
        assert f'formaction="/orders/acts/{kind}"' in page
    assert '<input type="hidden" name="account" value="default">' in page
    # Of final orders none is polled, checked or cancelled.
    assert 'formaction="/orders/acts/check"' not in client.get("/orders?state=succeeded").text
    with console_of(bench.url, READER) as reader:
        page = reader.get("/orders").text
        assert 'name="order"' not in page
        assert "/orders/acts/" not in page
        assert reader.get(act("cancel", f"order={order.id}")).status_code == 403
        assert reader.post(act("cancel", f"order={order.id}"), data={"confirmed": "yes"}).status_code == 403


def test_the_page_shows_how_many_they_are_and_their_sums_before_it_does_anything(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", "2", expected_amount="2.50")
    bench.add("3", "4", expected_amount="10")
    bench.reconcile([item("4", amount="9.99")])
    unresolve(bench, "1", "3")
    page = unescape(client.get(act("dismiss", ticked(bench, "1", "3", "4"))).text)
    for words in (
        "<dd>3</dd>",
        "￥22.50",
        "￥9.99",
        "Unresolved · No result for too long",
        "Dismiss the attention: 3 orders",
    ):
        assert words in page
    assert bench.rows(ACTS) == []
    gone = press(client, act("dismiss", "order=999999"), reason="x").text
    assert "1 of 1 orders: 0 done, 1 refused." in gone
    assert "there is no order id:999999" in gone
    nothing = client.get(act("dismiss", "order=x"))
    assert "There are none." in nothing.text
    assert 'value="yes"' not in nothing.text


def test_an_address_that_somebody_has_changed_is_not_found(client: FlaskClient) -> None:
    for scope in ("", "scope=&", "scope=x&"):
        assert client.get(act("cancel", f"{scope}order={2**63}")).status_code == 404


def test_ticked_orders_are_acted_on_with_one_reason_in_one_act(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2", "3")
    flag(bench, "1", "2", "3")
    path = act("dismiss", ticked(bench, "1", "2"))
    unsaid = press(client, path, reason="")
    assert (unsaid.status_code, "Say why" in unsaid.text) == (400, True)
    done = send(client, path, unsaid.text, reason="statement of May")
    assert said(done) == "2 of 2 orders: 2 done, 0 refused."
    assert "plan" not in hidden_fields(done.text)
    assert [order.attention for order in bench.orders()] == [None, None, Attention.TOO_OLD]
    assert acts_of(bench) == [("ann", "dismiss", "statement of May", 2)]
    for name in ("1", "2"):
        assert bench.events_of(name)[-1]["detail"] == "too_old: statement of May"


def test_each_act_is_done_to_all_that_match_and_others_are_refused_with_their_reason(
    bench: Workbench, client: FlaskClient
) -> None:
    put_endpoint(bench)
    bench.add("1", "2", "3", "4", "5")
    bench.intake.record_callbacks([callback("4")])
    bench.run("DELETE FROM notifications")
    unresolve(bench, "1", "2")
    for kind, refused in (("check", "is Unresolved, not pending"), ("resend", "there is no result to send")):
        done = press(client, act(kind, "scope=all"), reason="x")
        assert refused in unescape(done.text), kind
        assert "of 5 orders" in said(done)
    assert [one.type for one in told_of(bench, "4")] == ["order.succeeded"]
    assert bench.order("3").check_requested_at is not None
    press(client, act("reopen", f"{ALL_UNRESOLVED}&q=1"), reason="platform is back")
    assert (bench.order("1").state, bench.order("2").state) == (OrderState.PENDING, OrderState.UNRESOLVED)
    # By their poll priority, not before all others.
    assert bench.order("1").check_requested_at is None
    done = press(client, act("cancel", "scope=all"), reason="x")
    assert said(done) == "5 of 5 orders: 4 done, 1 refused."
    assert "is Succeeded already; reopen it first" in done.text
    assert f'href="/orders/{bench.order("4").id}"' in done.text


def test_an_order_that_has_changed_since_it_was_shown_is_refused(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2", "3", "4")
    flag(bench, "1", "2", "3")
    bench.reconcile([item("4")])
    bench.intake.record_callbacks([callback("4", "-1", "0")])
    path = act("dismiss", "scope=all&attention=any")
    page = client.get(path).text
    bench.run("UPDATE recharge_orders SET attention = 'conflicting_answer' WHERE request_id = '1'")
    # The same state and reason, but the platform has said something else.
    bench.intake.record_callbacks([callback("4", "1", "9.99")])
    bench.add("5")
    flag(bench, "5")
    done = send(client, path, page, reason="x")
    assert said(done) == "4 of 4 orders: 2 done, 2 refused."
    assert "has changed meanwhile" in done.text
    assert {name for name in "12345" if bench.order(name).attention} == {"1", "4", "5"}


@pytest.mark.databases("postgresql", "mariadb")
def test_a_contradiction_that_commits_after_later_ones_is_not_dismissed_unseen(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", "2")
    bench.reconcile([item("1"), item("2")])
    bench.intake.record_callbacks([callback("1", "-1", "0"), callback("2", "-1", "0")])
    path = act("dismiss", "scope=all&attention=late_conflict")
    with bench.database.write() as connection:
        late = [callback("1", "1", "9.99")]
        now = bench.database.now(connection)
        record_callbacks_within(connection, bench.rules, bench.app_ids, late, now)
        # Its event has an id by now, and that of the other order has a higher one.
        bench.intake.record_callbacks([callback("2", "1", "9.99")])
        page = client.get(path).text
    done = send(client, path, page, reason="x")
    assert said(done) == "2 of 2 orders: 1 done, 1 refused."
    assert "has changed meanwhile" in done.text
    assert bench.order("1").attention is Attention.LATE_CONFLICT
    assert bench.order("2").attention is None


def test_a_page_is_forgotten_after_half_a_day(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2")
    path = act("cancel", "scope=all")
    page = client.get(path).text
    bench.run(update(SELECTIONS).values(shown_at=bench.now() - timedelta(hours=13)))
    later = client.get(path).text
    assert len(bench.rows(SELECTIONS)) == 1
    assert said(send(client, path, page, reason="x")) == "2 of 2 orders: 0 done, 2 refused."
    assert said(send(client, path, later, reason="x")) == "2 of 2 orders: 2 done, 0 refused."


@pytest.mark.parametrize("kind", ["check", "resend", "dismiss"])
def test_the_same_confirmation_sent_twice_acts_once(bench: Workbench, client: FlaskClient, kind: str) -> None:
    put_endpoint(bench)
    bench.add("1", "2", "3")
    bench.intake.record_callbacks([callback("3", "1", "2.94")])
    bench.reconcile([item("2", status="7")])
    path = act(kind, ticked(bench, *({"check": "12", "resend": "3", "dismiss": "2"}[kind])))
    page = client.get(path).text
    first, second = (send(client, path, page, reason="x") for _ in range(2))
    assert said(first) == said(second)
    assert len(acts_of(bench)) == 1
    # Looked at once more, it is another act.
    press(client, path, reason="x")
    assert len(acts_of(bench)) == (1 if kind == "dismiss" else 2)


def test_thousands_are_done_a_thousand_in_a_request_and_ten_thousand_in_one_go(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add(*map(str, range(10_500)), expected_amount="2.00")
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    path = act("dismiss", "scope=all&state=pending")
    page = client.get(path).text
    assert "￥20000.00" in page
    assert "these are the first 10,000 of the list" in page
    first = send(client, path, page, reason="x")
    assert said(first) == "1,000 of 10,000 orders: 1,000 done, 0 refused."
    # A browser that is closed here leaves what is done; one that sends it once more gets the same answer.
    assert len(acts_of(bench)) == 1
    done, requests = finish(client, path, send(client, path, page, reason="x"))
    assert (said(done), requests) == ("10,000 of 10,000 orders: 10,000 done, 0 refused.", 10)
    assert "Do it for the others" in done.text
    assert {one["act_key"] for one in bench.rows(ACTS)} == {bench.rows(ACTS)[0]["act_key"]}
    assert sum(count for *_, count in acts_of(bench)) == 10_000
    page = client.get(act("dismiss", "scope=all&attention=any")).text
    assert "Dismiss the attention: 500 orders" in page
    assert "More match" not in page


@pytest.mark.databases("postgresql")
def test_a_search_that_takes_too_long_selects_nothing_and_says_how_to_narrow_it(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add("1", "2")
    with bench.database.write() as connection:
        connection.exec_driver_sql("LOCK TABLE recharge_orders IN ACCESS EXCLUSIVE MODE")
        page = client.get(act("cancel", "scope=all")).text
    assert "narrow it with another filter" in page
    assert "There are none" not in page
    assert "plan" not in hidden_fields(page)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("scope=all&reason=too_old", 404),
        ("scope=all&state=lost", 200),
        ("scope=all&from=yesterday", 200),
        ("scope=all&q=%22", 200),
    ],
)
def test_a_filter_that_cannot_be_read_selects_nothing(
    bench: Workbench, client: FlaskClient, query: str, status: int
) -> None:
    bench.add("1")
    answer = client.get(act("cancel", query))
    assert answer.status_code == status
    assert 'value="yes"' not in answer.text


@pytest.mark.parametrize("plan", ["", "{}", "[]", "[" * 50_000, '{"nonce": 1, "left": {"lost ": [1]}}'])
def test_a_form_that_is_none_of_ours_does_nothing(bench: Workbench, client: FlaskClient, plan: str) -> None:
    bench.add("1")
    path = act("cancel", ticked(bench, "1"))
    page = client.get(path).text
    assert send(client, path, page, reason="x", plan=plan).status_code == 400
    assert send(client, path, page, reason="x", csrf="0" * 64).status_code == 403
    assert bench.order("1").state is OrderState.PENDING


def test_a_form_that_somebody_has_changed_is_refused(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    path = act("cancel", ticked(bench, "1"))
    page = client.get(path).text
    plan = json.loads(hidden_fields(page)["plan"])
    listed = (["x"], [2**64], [-(2**64)], [float("inf")], ["1"], {"x": 1}, 7)
    changes: list[dict[str, Any]] = [
        *({"left": {"pending ": ids}} for ids in listed),
        *({"left": left} for left in (None, [1], {"lost ": [1]}, {"pending lost": [1]})),
        *({"refused": refused} for refused in (7, {"x": 7}, {"x": ["y"]}, {"\ud800": [1]})),
        *({"count": value} for value in (None, "1", -1, 2**64, float("nan"))),
        *({name: "\ud800"} for name in ("nonce", "due", "charged", "difference")),
        {"another": 1},
    ]
    for changed in changes:
        sent = send(client, path, page, reason="x", plan=json.dumps({**plan, **changed}))
        assert sent.status_code == 400, changed
    assert bench.order("1").state is OrderState.PENDING


def test_an_unresolved_order_is_dismissed_in_no_act_on_many(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2")
    unresolve(bench, "1")
    flag(bench, "2")
    done = press(client, act("dismiss", "scope=all&attention=any"), reason="x")
    assert said(done) == "2 of 2 orders: 1 done, 1 refused."
    assert "is unresolved and needs a person; resolve, reopen or cancel it" in done.text
    assert bench.order("1").attention is Attention.TOO_OLD
    for state, is_offered in (("unresolved", False), ("pending", True)):
        assert ('formaction="/orders/acts/dismiss"' in client.get(f"/orders?state={state}").text) is is_offered


def test_who_goes_back_comes_to_the_list_as_it_was(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    path = act("cancel", f"{ticked(bench, '1')}&next=/orders?state%3Dpending")
    assert 'href="/orders?state=pending"' in client.get(path).text
    assert 'href="/orders?state=pending"' in press(client, path, reason="x").text
    assert "evil.example" not in client.get(f"{path}&next=//evil.example").text.split("<main")[1].split("hidden")[-1]


@pytest.mark.parametrize("kind", ["check", "reopen"])
def test_no_order_of_an_account_outside_the_settings_is_polled_again(
    bench: Workbench, client: FlaskClient, kind: str
) -> None:
    bench.add("1")
    bench.run(
        "UPDATE recharge_orders SET account = 'shop', state = :state",
        state="pending" if kind == "check" else "cancelled",
    )
    assert "its account shop is not in the settings" in press(client, act(kind, "scope=all"), reason="x").text


# ---- what is recorded


def rows_shown(page: str) -> list[str]:
    return [unescape(re.sub(r"<[^>]*>", " ", row)) for row in page.partition("</tbody>")[0].split("<tr>")[2:]]


def test_an_act_of_many_rows_is_one_line_that_leads_to_its_orders(bench: Workbench, client: FlaskClient) -> None:
    bench.add(*map(str, range(1_003)))
    bench.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id IN ('0', '1')")
    press(client, f"/orders/{bench.order('0').id}/acts/cancel", reason="ticket 1")
    path = act("cancel", "scope=all&state=pending")
    finish(client, path, press(client, path, reason="statement of May"))
    assert [one["order_count"] for one in bench.rows(ACTS)] == [1, 1_000, 1, 1]
    many, one = rows_shown(client.get("/acts").text)
    assert "1002 orders" in many.replace(",", "")
    assert "default, shop" in many
    assert "1 order: 0" in one
    assert len(rows_shown(client.get("/acts?account=shop").text)) == 2
    assert len(rows_shown(client.get("/acts?account=default").text)) == 1
    (act_key,) = {row["act_key"] for row in bench.rows(ACTS)[1:]}
    page = client.get(f"/orders?act={act_key}").text
    assert len(rows_shown(page)) == 50
    assert "The orders of one act" in page
    assert f'href="/orders?act={act_key}"' in client.get("/acts").text
    assert len(client.get(f"/orders?act={act_key}&format=csv").text.splitlines()) == 1_003
    assert len(client.get(f"/orders?act={act_key}&account=shop&format=csv").text.splitlines()) == 2
    # They are a selection as any other.
    assert "Resend: 1,002 orders" in client.get(act("resend", f"scope=all&act={act_key}")).text
    assert len(rows_shown(client.get(f"/orders?act={'0' * 32}").text)) == 0
    assert "cannot be read here" in client.get("/orders?act=%00").text


def test_acts_are_filtered_by_person_act_and_day(bench: Workbench, client: FlaskClient) -> None:
    bench.run(
        "INSERT INTO operator_acts (at, actor, act, account, detail) VALUES (:at, :actor, :act, 'default', :detail)",
        *(
            {"at": f"2016-01-{day} 10:00:00.000000", "actor": actor, "act": act, "detail": f"{actor} {act} {day}"}
            for day, actor, act in (("30", "li", "pause"), ("31", "li", "dismiss"), ("31", "ann", "pause"))
        ),
    )
    for query, expected in {
        "": ["ann pause 31", "li dismiss 31", "li pause 30"],
        "actor=li": ["li dismiss 31", "li pause 30"],
        "actor=li&act=pause": ["li pause 30"],
        "from=2016-01-31": ["ann pause 31", "li dismiss 31"],
        "to=2016-01-30": ["li pause 30"],
        "from=2016-01-31&to=2016-01-31&act=pause": ["ann pause 31"],
        "actor=zoe": [],
        "after=2": ["li pause 30"],
        "after=99": [],
    }.items():
        shown = rows_shown(client.get(f"/acts?{query}").text)
        assert [[said for said in expected if said in row] for row in shown] == [[one] for one in expected], (
            query,
            shown,
        )
    assert "cannot be read here" in client.get("/acts?actor=%00").text


# ---- what may come between


def test_two_confirmations_at_one_moment_act_once(bench: Workbench) -> None:
    names = [str(number) for number in range(40)]
    bench.add(*names)
    path = act("check", "scope=all")
    with console_of(bench.url) as first, console_of(bench.url) as second:
        page = first.get(path).text
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda one: send(one, path, page, reason="x"), (first, second)))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sum(count for *_, count in acts_of(bench)) == 40
    assert len(bench.rows(EVENTS)) == 40


def test_a_session_that_ends_in_the_middle_keeps_what_is_done_and_leads_back_to_the_rest(
    bench: Workbench, tmp_path: Path
) -> None:
    bench.add(*map(str, range(1_200)))
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    path = act("dismiss", "scope=all&attention=too_old")
    with console_process(bench.url, write_users(tmp_path / "users.toml")) as process:
        visitor = process.signed_in(ACTOR)
        form = {**hidden_fields(visitor.get(path).text), "reason": "x", "confirmed": "yes"}
        half = visitor.post(path, form)
        assert "1,000" in said(half)
        bench.run("DELETE FROM console_sessions")
        here = {"HX_Request": "true", "HX_Current_URL": f"https://console.example{path}"}
        ended = visitor.post(path, hidden_fields(half.text), **here)
        assert (ended.status_code, acts_of(bench)) == (401, [(ACTOR, "dismiss", "x", 1_000)])
        back = visitor.sign_in(ACTOR, next=parse_qs(urlsplit(ended.headers["HX-Redirect"]).query)["next"][0])
        assert back.location == path
        visitor.headers["Accept-Language"] = "en"
        assert "Dismiss the attention: 200 orders" in visitor.get(back.location).text


def test_of_an_act_of_very_many_orders_the_last_rows_are_read(bench: Workbench) -> None:
    row = {"at": bench.now(), "actor": "ann", "act": "dismiss", "account": "default", "act_key": "k1"}
    parts = [("1 2 3", 3), ("4 5", 2), (None, None), ("6 7", 2)]
    bench.run(insert(ACTS), *({**row, "order_ids": ids, "order_count": count} for ids, count in parts))
    bench.run(insert(ACTS).values(**{**row, "act_key": "k2"}, order_ids="8", order_count=1))
    with bench.database.read() as connection:
        read = [sorted(read_orders_acted_on(connection, "k1", most)) for most in (1, 2, 3, 4, 5, None)]
        assert read_orders_acted_on(connection, "k3", 1) == set()
    assert read == [[6, 7], [6, 7], [4, 5, 6, 7], [4, 5, 6, 7], [*range(1, 8)], [*range(1, 8)]]


def test_of_an_act_of_very_many_orders_the_page_says_how_many_it_leaves_out(
    bench: Workbench, client: FlaskClient
) -> None:
    (order,) = bench.add("1")
    row = {"at": bench.now(), "actor": "ann", "act": "cancel", "account": "default", "order_ids": f"{order.id}"}
    for key, count in (("k1", 10_000), ("k2", 11_234)):
        bench.run(insert(ACTS).values(**row, act_key=key, order_count=count))
        for path in (f"/orders?act={key}", act("dismiss", f"scope=all&act={key}")):
            assert ("1,234 others are not in the list" in client.get(path).text) == (key == "k2"), path
    assert "are not in the list" not in client.get("/orders").text


def test_a_number_that_is_a_row_too_takes_no_order_that_the_other_filters_leave_out(
    bench: Workbench, client: FlaskClient
) -> None:
    (row,) = (order.id for order in bench.add("r1"))
    bench.add(f"{row}1", f"{row}2")
    unresolve(bench, f"{row}1", f"{row}2")
    for filters, count in (("", 3), ("&attention=any", 2), ("&state=pending", 1), ("&account=shop", 0)):
        page = client.get(act("reopen", f"scope=all&q={row}{filters}")).text
        assert json.loads(hidden_fields(page).get("plan", '{"count": 0}'))["count"] == count, filters
    press(client, act("reopen", f"scope=all&q={row}&attention=any"), reason="x")
    (act_key,) = {one["act_key"] for one in bench.rows(ACTS)}
    assert len(rows_shown(client.get(f"/orders?q={row}&act={act_key}").text)) == 2
