"""The console's lists and stories on real databases, as a clerk reads them."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from flask import render_template_string
from sqlalchemy import insert

from tests.support.notifying import put_endpoint, put_notifications
from tests.support.pages import Pages, pages_of
from tests.support.reconciling import Workbench, item
from tests.support.server_process import free_port
from tests.support.settled_orders import callback
from worker.database.tables import REJECTED
from worker.domain.records.accounts import Pause
from worker.domain.records.notifications import NotificationState
from worker.domain.records.orders import Attention, OrderState
from worker.views.page import Page
from worker.web.console.todo import TABS
from worker.words import Skin, catalogue
from worker.words.catalogue import PAGES, translations

# Quick tests of the commands run the same statements on PostgreSQL.
pytestmark = pytest.mark.quick_on("sqlite")

FILES = ("/orders", "/notifications", "/queries", "/rejected", "/unmatched", "/acts")
LISTS = (*FILES, "/attention")
MARKUP = "<script>alert(1)</script>"
MOBILE = "18812340804"
NOON = datetime(2016, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", LISTS)
def test_a_list_without_rows_says_so(pages: Pages, path: str, language: str) -> None:
    shown = pages.text(path, language)
    empty = "No order needs a person." if path == "/attention" else "There is nothing that matches."
    assert translations(language).gettext(empty) in shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_state_and_every_reason_is_named_and_explained(bench: Workbench, pages: Pages, language: str) -> None:
    names = [*OrderState, *Attention]
    bench.add(*names)
    for state in OrderState:
        bench.run(
            "UPDATE recharge_orders SET settled_at = submitted_at, state = :state WHERE request_id = :name",
            state=state.value,
            name=state.value,
        )
    for reason in Attention:
        bench.run("UPDATE recharge_orders SET attention = :name WHERE request_id = :name", name=reason.value)
    skin = Skin(translate=translations(language).gettext, remedies=PAGES)
    listed = pages.text("/orders", language)
    for value in names:
        words = catalogue.name(value, skin)
        assert words in listed
        story = pages.text(f"/orders/{bench.order(value.value).id}", language)
        assert words in story
        if isinstance(value, Attention):
            to_do = pages.text(f"/attention?attention={value}", language)
            for said in (catalogue.means(value, skin), catalogue.remedy(value, skin)):
                assert said in story
                assert said in to_do


def test_the_story_of_an_order_tells_what_it_is_what_comes_next_and_what_was(bench: Workbench, pages: Pages) -> None:
    put_endpoint(bench)
    bench.add("r1", mobile=MOBILE, expected_amount="1")
    query = bench.reconcile([item("r1", remark="done")])
    shown = pages.text(f"/orders/{bench.order('r1').id}")
    assert "The recharge succeeded. This is final." in shown
    assert "Amount differs" in shown
    assert "Nothing happens by itself." in shown
    assert "Charged ￥2.94" in shown
    assert "Expected amount ￥1.00" in shown
    assert f"query {query.id}" in shown
    assert "“done”" in shown
    assert "Order succeeded Waiting" in shown
    settled_at = bench.order("r1").settled_at
    assert settled_at is not None
    assert f"{settled_at.astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%d %H:%M:%S}" in shown


def test_a_pending_order_says_why_it_waits(bench: Workbench, pages: Pages) -> None:
    bench.add("r1")
    path = f"/orders/{bench.order('r1').id}"
    assert "No worker is running: have the administrator start one." in pages.text(path)
    assert "没有后台服务在运行：请管理员启动。" in pages.text(path, "zh")


@pytest.mark.parametrize("path", ["/orders/999", "/queries/999", "/rejected/999", f"/orders/{10**30}"])
def test_what_is_not_there_is_answered_with_a_page(pages: Pages, path: str) -> None:
    assert "There is nothing here" in pages.text(path, status=404)
    assert "没有找到" in pages.text(path, "zh", status=404)


@pytest.mark.parametrize(
    "number",
    [
        *("r-17", "c-17", MOBILE, f"+86 {MOBILE}", "id:{id}", "{id}", "r-1"),
        *(
            "１８８１２３４０８０４",
            "\u202d188 1234 0804\u202c",
            "\u3000r -\t17",
            "Ｒ－17".lower(),
            "0804",
            "０８０４ ",
        ),
    ],
)
def test_a_number_that_one_order_has_opens_it(bench: Workbench, pages: Pages, number: str) -> None:
    bench.enqueue({"request_id": "r-17", "custom_parm": "c-17", "mobile": MOBILE}, {"request_id": "x"})
    order_id = bench.order("r-17").id
    answer = pages.client.get("/orders", query_string={"q": number.format(id=order_id)}, base_url="http://localhost")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/orders/{order_id}")


def test_a_number_that_several_orders_have_lists_them(bench: Workbench, pages: Pages) -> None:
    bench.enqueue(
        {"request_id": "a-1", "mobile": MOBILE}, {"request_id": "a-2", "mobile": MOBILE}, {"request_id": "b-1"}
    )
    for number in (MOBILE, "a-"):
        shown = pages.text(f"/orders?q={number}")
        assert "a-1" in shown
        assert "a-2" in shown
        assert "b-1" not in shown
    assert "There is nothing that matches." in pages.text("/orders?q=none")
    assert "There is nothing that matches." in pages.text("/orders?q=id:999")


def test_four_digits_are_the_end_of_a_phone_or_begin_an_id_but_are_no_row(bench: Workbench, pages: Pages) -> None:
    bench.enqueue(
        {"request_id": "a-1", "mobile": MOBILE},
        {"request_id": "a-2", "mobile": "13912340804"},
        {"custom_parm": "0804-x", "mobile": "18912345678"},
        {"request_id": "a-0804", "mobile": "18080412345"},
    )
    bench.run("UPDATE recharge_orders SET id = 804 WHERE request_id = 'a-0804'")
    rows = pages.csv("/orders?q=0804&format=csv")[1:]
    assert {row[2] or row[3] for row in rows} == {"a-1", "a-2", "0804-x"}
    assert "a-0804" in pages.text("/orders/804")
    assert pages.open("/orders?q=id:0804").headers["Location"] == "/orders/804"


def test_a_number_is_looked_for_in_unmatched_callbacks_and_refused_input(bench: Workbench, pages: Pages) -> None:
    bench.intake.record_callbacks(
        [{"requestId": "u-1", "appid": "app-1", "customParm": "x_9"}, {"requestId": "u-2", "appid": "app-1"}]
    )
    bench.intake.enqueue_orders([{"request_id": "u-1", "mobile": "1"}, {"request_id": "u-19", "mobile": "2"}])
    bench.intake.enqueue_orders([{"request_id": "xy9", "mobile": "1"}])
    shown = pages.text("/orders?q=ｕ-1")
    assert "There is nothing that matches." in shown
    assert "x_9" in shown
    assert "u-2" not in shown
    assert [pages.link("/orders?q=u-1", f"Row {row}") for row in (1, 2, 3)] == ["/rejected/1", "/rejected/2", None]
    assert "Refused input" not in pages.text("/orders?q=x_9")
    assert "Unmatched callbacks with this number" in pages.text("/orders?q=x_9")
    listed = pages.csv("/rejected?q=u-19&format=csv")[1:]
    assert [row[0] for row in listed] == ["2"]


def test_where_much_refused_input_holds_a_number_the_page_leads_to_all_of_it(bench: Workbench, pages: Pages) -> None:
    with bench.database.write() as connection:
        rows = [
            {"received_at": NOON, "source": "x", "payload": f"n{number % 11}n", "errors": "x"} for number in range(111)
        ]
        connection.execute(insert(REJECTED), rows)
    assert pages.link("/orders?q=n0n", "Row 111") == "/rejected/111"
    assert pages.link("/orders?q=n0n", "Search refused input") == "/rejected?q=n0n"
    assert pages.link("/orders?q=none", "Search refused input") is None


def test_a_list_that_was_searched_in_part_says_so(pages: Pages) -> None:
    shown = "{% import 'console/parts.html' as parts with context %}{{ parts.pager(part) }}"
    with pages.client.application.test_request_context("/orders?account=shop"):
        said = render_template_string(shown, part=Page(rows=[], searched=2_000))
    with pages.client.application.test_request_context("/attention?sort=oldest"):
        said_of_oldest = render_template_string(shown, part=Page(rows=[], searched=50_000))
    assert "The search took too long and covers at most the newest 2,000 rows: narrow it with another filter." in said
    missing = "Orders that have waited longer may be missing."
    assert (missing in said, missing in said_of_oldest) == (False, True)
    assert "There is nothing that matches." not in said
    assert "Next page" not in said


def test_a_row_and_an_older_order_that_is_called_so_are_both_listed(bench: Workbench, pages: Pages) -> None:
    first, second = bench.add("first-one", "second-one")
    bench.run("UPDATE recharge_orders SET custom_parm = :name WHERE id = :id", name=f"id:{first.id}", id=second.id)
    shown = pages.text(f"/orders?q=id:{first.id}")
    assert "first-one" in shown
    assert "second-one" in shown


@pytest.mark.parametrize(
    "wrong",
    ["q=a,b", "q=%00", "state=none", "attention=none", "account=a,b", "from=yesterday", "to=9999-12-31", "after=x"],
)
def test_a_filter_that_cannot_be_read_is_answered_with_a_sentence(pages: Pages, wrong: str) -> None:
    assert 'role="alert"' in pages.markup(f"/orders?{wrong}")


def test_orders_are_filtered(bench: Workbench, pages: Pages) -> None:
    bench.add("old", age_seconds=10 * 86_400)
    bench.add("new", "done")
    bench.intake.record_callbacks([callback("done")])
    bench.run("UPDATE recharge_orders SET attention = 'too_old' WHERE request_id = 'old'")
    today = f"{datetime.now(UTC).astimezone(ZoneInfo('Asia/Shanghai')) - timedelta(days=2):%Y-%m-%d}"
    for narrowed, names in (
        ("state=succeeded", {"done"}),
        ("attention=too_old", {"old"}),
        ("attention=any", {"old"}),
        (f"from={today}", {"new", "done"}),
        (f"to={today}", {"old"}),
        ("account=other", set()),
    ):
        assert {row[2] for row in pages.csv(f"/orders?{narrowed}&format=csv")[1:]} == names


def test_pages_follow_each_other_without_a_gap(bench: Workbench, pages: Pages) -> None:
    names = [f"n{number:03}" for number in range(120)]
    bench.add(*names)

    listed = list[str]()
    path: str | None = "/orders?state=pending"
    while path is not None:
        listed += [word for word in pages.text(path).split() if word in names]
        path = pages.link(path, "Next page")
    assert sorted(listed) == names
    assert len(pages.csv("/orders?format=csv")) == 121


def test_a_page_that_begins_behind_an_order_that_is_gone_is_the_first(bench: Workbench, pages: Pages) -> None:
    bench.add("r1")
    shown = pages.text("/orders?after=999")
    assert "this is the first page" in shown
    assert "r1" in shown


def test_a_file_has_the_columns_of_the_command_and_no_formula(bench: Workbench, pages: Pages) -> None:
    bench.add("r1", mobile=MOBILE)
    bench.run("UPDATE recharge_orders SET remark = '=1+1'")
    header, row = pages.csv("/orders?format=csv")
    assert header[:6] == ["id", "account", "request_id", "custom_parm", "mobile", "state"]
    assert row[header.index("remark")] == "'=1+1"
    assert row[header.index("submitted_at")].endswith("+08")


@pytest.mark.parametrize("path", FILES)
def test_every_list_has_a_file(bench: Workbench, pages: Pages, path: str) -> None:
    assert len(pages.csv(f"{path}?format=csv")) == 1


def test_markup_from_outside_is_shown_and_never_run(bench: Workbench, pages: Pages) -> None:
    put_endpoint(bench, shown=MARKUP)
    bench.add("r1", expected_amount="1")
    bench.reconcile([item("r1", remark=MARKUP, words=f'{{"remark": "{MARKUP}"}}')])
    bench.run(
        "INSERT INTO operator_acts (at, actor, act, account) VALUES ('2016-01-31 10:00:00', 'li', 'pause', 'default')"
    )
    bench.run("UPDATE notifications SET state = 'gave_up', outcome = 'http_error'")
    for table, columns in (
        ("order_events", ("detail", "actor")),
        ("platform_queries", ("status_msg", "answer_excerpt", "added_items")),
        ("notifications", ("answer",)),
        ("operator_acts", ("actor", "reason", "detail")),
    ):
        for column in columns:
            bench.run(f"UPDATE {table} SET {column} = :text", text=MARKUP)
    bench.intake.enqueue_orders([{"request_id": MARKUP}])
    bench.intake.record_callbacks([{**callback("unknown"), "remark": MARKUP}])
    rejected = pages.csv("/rejected?format=csv")[1][0]
    stories = [f"/orders/{bench.order('r1').id}", "/queries/1", f"/rejected/{rejected}", f"/orders?q={MARKUP}"]
    for path in [*LISTS, *stories]:
        markup = pages.markup(path)
        assert MARKUP not in markup, path
        if path not in ("/orders", "/queries"):
            assert "&lt;script&gt;" in markup, path


def test_what_needs_a_person_leads_to_it(bench: Workbench, pages: Pages) -> None:
    put_endpoint(bench)
    bench.add("r1", "r2", expected_amount="1")
    bench.reconcile([item("r1"), item("r2", status="9")])
    bench.run("UPDATE notifications SET state = 'gave_up', outcome = 'timeout'")
    bench.intake.enqueue_orders([{"request_id": ""}])
    bench.put_pauses(Pause(paused_at=bench.now(), paused_by="li", pause_reason="audit"))
    assert f'href="/orders/{bench.order("r1").id}?list=">r1</a>' in pages.markup("/attention")
    assert f'href="/orders/{bench.order("r1").id}">r1</a>' in pages.markup("/attention?tab=notification")
    assert 'href="/rejected/1"' in pages.markup("/attention?tab=rejected")
    of_account = pages.markup("/attention?tab=account")
    assert 'href="/queries?account=default"' in of_account
    assert "li: audit" in of_account
    for tab in TABS:
        assert not re.search("id:[0-9]", pages.text(f"/attention?tab={tab}"))


def test_of_many_only_some_are_shown_with_a_link_to_all(bench: Workbench, pages: Pages) -> None:
    bench.intake.enqueue_orders([{"request_id": ""}] * 12)
    assert pages.link("/attention?tab=rejected", "Show all of them") == "/rejected?open=yes"


def test_receivers_and_notifications_are_shown_with_how_they_fare(bench: Workbench, pages: Pages) -> None:
    put_endpoint(bench)
    put_notifications(bench, 2)
    gave_up, at = NotificationState.GAVE_UP, datetime.now(UTC)
    put_notifications(bench, 1, state=gave_up, outcome="http_error", http_status=500, answer="no", tried_at=at)
    shown = pages.text("/notifications")
    assert "https://billing.example Takes notifications" in shown
    assert "Given up" in shown
    assert "HTTP error 500 no" in shown
    assert len(pages.csv("/notifications?format=csv&state=gave_up")) == 2
    bench.run("UPDATE notify_endpoints SET paused_at = '2016-01-31 10:00:00', paused_by = 'li'")
    assert "Paused li" in pages.text("/notifications")


def test_a_query_shows_its_orders_as_they_stand_now(bench: Workbench, pages: Pages) -> None:
    bench.add("r1", "r2")
    query = bench.reconcile([item("r1")])
    shown = pages.text(f"/queries/{query.id}")
    assert "r1 Succeeded yes" in shown
    assert "r2 Pending left out" in shown
    assert "Answered" in pages.text("/queries?outcome=answered")
    assert "There is nothing that matches." in pages.text("/queries?outcome=timeout")


def test_refused_input_is_shown_whole_with_its_faults(bench: Workbench, pages: Pages) -> None:
    bench.intake.enqueue_orders([{"request_id": "", "mobile": "12"}])
    shown = pages.text("/rejected/1")
    assert "Why it was refused" in shown
    assert "mobile" in shown
    assert '"mobile": "12"' in shown


def test_the_language_is_chosen_and_kept(pages: Pages) -> None:
    assert 'lang="zh-CN"' in pages.markup("/orders", "zh")
    answer = pages.client.post(
        "/language", data={"language": "en", "next": "/orders?state=pending"}, base_url="http://localhost:8080"
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/orders?state=pending")
    assert 'lang="en"' in pages.markup("/orders", "zh")


def test_while_the_database_is_away_a_page_says_so_and_nothing_else() -> None:
    url = f"postgresql://reconciler:sesame-street@127.0.0.1:{free_port()}/reconciler"
    with pages_of(url) as pages:
        for path in (*LISTS, "/orders/1"):
            answer = pages.open(path)
            assert answer.status_code == 503
            assert "The database does not answer at present" in answer.text
            assert "sesame" not in answer.text
            assert "SELECT" not in answer.text


@pytest.mark.parametrize(
    "odd", ["endpoint=x", "_method=POST", "_scheme=javascript", "_external=1", "order_id=abc", "order_id=2"]
)
def test_whatever_an_address_holds_besides_a_page_links_to_itself(bench: Workbench, pages: Pages, odd: str) -> None:
    bench.add("r1")
    assert f'hx-get="/orders/1?{odd}"' in pages.markup(f"/orders/1?{odd}")
    assert pages.open(f"/orders?{odd}").status_code == 200


def test_how_often_an_unmatched_callback_came_is_shown(bench: Workbench, pages: Pages) -> None:
    bench.intake.record_callbacks([{"requestId": "r9", "appid": "app-1", "trafficSts": "1"}] * 8)
    assert "settles its order 7 {" in pages.text("/unmatched")
