"""The page of what needs a person, as one works through it."""

import re
from html import unescape

import pytest

from tests.support.command_line import settings_of_account
from tests.support.console import console_of
from tests.support.pages import Pages, pages_of
from tests.support.reconciling import Workbench, item
from tests.support.waiting import eventually
from worker.web.console.todo import next_in_list

pytestmark = pytest.mark.quick_on("sqlite")


def need_a_person(bench: Workbench, count: int = 3) -> None:
    """Orders that need one, the first the longest ago."""
    for number in range(count):
        bench.add(str(number), age_seconds=3600.0 * (count - number), mobile="18812340804", expected_amount="2.00")
    bench.run("UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old'")


def listed(pages: Pages, path: str) -> list[str]:
    """The orders of the page."""
    return re.findall(r'href="/orders/\d+\?list=[^"]*">([^<]*)</a>', pages.markup(path))


def test_each_order_says_what_a_person_has_to_know_of_it(bench: Workbench, pages: Pages) -> None:
    bench.add("1", age_seconds=7200.0, mobile="18812340804", expected_amount="2.00")
    bench.reconcile([item("1", mobile="188****0804", amount="2.94", remark="done")])
    words = "18812340804 1 ￥2.00 ￥2.94 ￥0.94 2 hours Succeeded Amount differs status 1 amount 2.94 “done” default"
    assert words in pages.text("/attention")
    words = "18812340804 1 ￥2.00 ￥2.94 ￥0.94 2 小时 成功 金额不符 状态 1 金额 2.94 “done” default"
    assert words in pages.text("/attention", "zh")


def test_the_address_keeps_what_the_list_is_narrowed_by_and_each_order_carries_it(
    bench: Workbench, pages: Pages
) -> None:
    need_a_person(bench)
    bench.run("UPDATE recharge_orders SET attention = 'late_conflict', account = 'shop' WHERE request_id = '1'")
    assert listed(pages, "/attention") == ["2", "1", "0"]
    assert listed(pages, "/attention?sort=oldest") == ["0", "1", "2"]
    assert listed(pages, "/attention?attention=too_old&sort=oldest&account=default") == ["0", "2"]
    assert listed(pages, "/attention?account=shop") == ["1"]
    assert listed(pages, "/attention?state=pending") == []
    day = f"{bench.order('2').submitted_at.year - 1}-01-01"
    assert listed(pages, f"/attention?to={day}") == []
    assert listed(pages, f"/attention?from={day}&attention=any") == ["2", "1", "0"]
    page = pages.markup("/attention?attention=too_old&sort=oldest&tab=order&after=7")
    assert f'href="/orders/{bench.order("2").id}?list=attention%3Dtoo_old%26sort%3Doldest"' in page
    file = re.search(r'href="(/orders\?[^"]*format=xlsx[^"]*)"', page)
    assert file is not None
    assert unescape(file[1]) == "/orders?format=xlsx&attention=too_old"
    assert "cannot be read here" in pages.text("/attention?attention=no_reason")
    assert "this is the first page" in pages.text("/attention?after=999")


def test_other_things_have_tabs_and_every_page_says_how_many_there_are(bench: Workbench, pages: Pages) -> None:
    need_a_person(bench)
    bench.intake.enqueue_orders([{"request_id": ""}, {"request_id": " "}])
    bench.run("UPDATE recharge_orders SET attention = NULL WHERE request_id = '2'")

    def counts(path: str) -> list[tuple[str, str]]:
        shown = re.sub(r"<[^>]*>", " ", pages.markup(path))
        names = "Needs a person|Orders|Refused input|No result for too long|Unresolved orders"
        return re.findall(rf"({names})\s+(\d+)", shown)

    expected = [("Needs a person", "5"), ("Orders", "3"), ("Refused input", "2")]
    reasons = [("No result for too long", "2"), ("Unresolved orders", "1")]
    eventually(lambda: counts("/attention?tab=account") == expected, "the tabs say how many there are")
    assert counts("/attention")[:5] == [*expected, *reasons]
    assert counts("/orders") == expected[:1]
    assert pages.link("/attention", "Unresolved orders") == "/attention?attention=unresolved"
    assert listed(pages, "/attention") == ["2", "1", "0"]
    assert listed(pages, "/attention?attention=unresolved") == ["2"]
    assert "Neither book nor refund" in pages.text("/attention?attention=unresolved")
    part = pages.markup("/attention/count")
    assert re.sub(r"<[^>]*>", "", part).strip() == "5"


def test_more_than_a_page_can_count_is_said_to_be_more(bench: Workbench, pages: Pages) -> None:
    bench.add(*map(str, range(1_001)))
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    eventually(lambda: "99+" in pages.markup("/queries"), "the navigation says that there are many")
    shown = pages.text("/attention")
    assert "Orders 999+" in shown
    assert "Orders: 1,001." in shown


def test_a_count_of_a_list_is_exact_up_to_ten_thousand(bench: Workbench, pages: Pages) -> None:
    """Whatever the list is narrowed by: a page of 50 orders never says that there are none or more."""
    for start in range(0, 10_001, 1_000):
        bench.add(*map(str, range(start, min(start + 1_000, 10_001))))
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    bench.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id LIKE '%99'")
    # A count that takes too long is left out.
    eventually(lambda: "Orders: 10,000+." in pages.text("/attention"), "the page says that there are many")
    eventually(lambda: "Orders: 9,901." in pages.text("/attention?account=default"), "the page counts an account")
    eventually(lambda: "Orders: 100." in pages.text("/attention?account=shop"), "the page counts the other account")


def test_the_count_alone_does_not_lead_to_the_sign_in(migrated_database_url: str) -> None:
    """A page on which somebody types stays where it is when the sign-in has ended."""
    with pages_of(migrated_database_url) as pages:
        pages.client.delete_cookie("key", domain="localhost")
        answer = pages.open("/attention/count", **{"HX-Request": "true"})
        assert (answer.status_code, answer.text, answer.headers.get("HX-Redirect")) == (401, "", None)
        assert "HX-Redirect" in pages.open("/overview/now", **{"HX-Request": "true"}).headers


def test_the_next_order_of_the_list_is_found_from_the_page_of_one(bench: Workbench) -> None:
    need_a_person(bench)
    first, second, third = (bench.order(name).id for name in "210")
    settings = settings_of_account(bench.url)
    with console_of(bench.url) as client:

        def following(order_id: int, query: str) -> str | None:
            with client.application.test_request_context(f"/orders/{order_id}?{query}"):
                return next_in_list(settings, bench.database, order_id)

        assert following(first, "list=") == f"/orders/{second}?list="
        oldest = "list=sort%3Doldest%26attention%3Dtoo_old"
        assert following(third, oldest) == f"/orders/{second}?{oldest}"
        bench.run("UPDATE recharge_orders SET attention = NULL, state = 'cancelled' WHERE request_id IN ('1', '2')")
        assert following(first, "list=") == f"/orders/{third}?list="
        assert following(third, "list=") is None
        assert following(first, "") is None
        assert following(first, "list=%3D%3D%26account%3D%2500") == f"/orders/{third}?list=%3D%3D%26account%3D%2500"


def add_before_those_of_another_account(bench: Workbench, count: int) -> int:
    """Add an order, and `count` older ones of another account; all need a person. Returns the id of the first."""
    bench.add("first", age_seconds=60.0)
    bench.add(*(f"o{number}" for number in range(count)), age_seconds=3600.0)
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    bench.run("UPDATE recharge_orders SET account = 'shop' WHERE request_id LIKE 'o%'")
    return bench.order("first").id


@pytest.mark.databases("sqlite")
def test_a_search_for_the_next_order_that_takes_too_long_does_not_say_that_there_is_none(bench: Workbench) -> None:
    first = add_before_those_of_another_account(bench, 3_000)
    held, settings = "list=account%3Ddefault", settings_of_account(bench.url)
    with pages_of(bench.url) as pages, pages.client.application.test_request_context(f"/orders/{first}?{held}"):
        assert next_in_list(settings, bench.database, first) is None
        path = next_in_list(settings, bench.database, first, seconds=0.0)
    assert path == f"/attention?account=default&after={first}"
