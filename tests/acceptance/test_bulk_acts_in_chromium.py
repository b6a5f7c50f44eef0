"""Acts on many orders in a real browser: ticks, a page that goes on by itself, and what is shown of it afterwards."""

from collections.abc import Iterator

import pytest

from tests.support.browser import DESK, PHONE, Browser, chromium
from tests.support.databases import Postgresql
from tests.support.reconciling import Workbench
from tests.support.served_console import served_console
from tests.support.visitors import ACTOR, PASSWORD

pytestmark = pytest.mark.slow

COUNT = 2_600


@pytest.fixture(scope="module")
def served(postgresql_server: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Workbench]]:
    """Where orders are served, and what changes them."""
    with served_console(postgresql_server, tmp_path_factory.mktemp("console")) as (url, bench):
        bench.add(*(f"20261127{number:010}" for number in range(COUNT)), expected_amount="2.94", mobile="18812340804")
        yield url, bench


@pytest.fixture
def console(served: tuple[str, Workbench]) -> str:
    """Where all orders need a person."""
    url, bench = served
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    return url


def open_list(browser: Browser) -> None:
    browser.open("/orders?attention=too_old")
    browser.type("name", ACTOR)
    browser.type("password", PASSWORD).submit()
    browser.wait_for("对勾选的订单")


def open_act(browser: Browser) -> None:
    browser.click("button[formaction='/orders/acts/dismiss']")
    browser.find("button.do")


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_all_that_match_are_done_by_three_clicks_and_one_reason(console: str, width: int) -> None:
    with chromium(console, width=width) as browser:
        open_list(browser)
        assert browser.overflow <= 0
        browser.click("[name=scope]")
        open_act(browser)
        assert "￥7644.00" in browser.text
        assert browser.overflow <= 0
        reason = f"对账单已核实 {width}"
        browser.type("reason", reason)
        browser.click("button.do")
        browser.wait_for("共 2,600 笔订单，已处理 2,600 笔：完成 2,600 笔，未执行 0 笔。", "#progress")
        assert browser.overflow <= 0
        browser.open("/acts")
        assert browser.text.count(reason) == 1
        assert browser.overflow <= 0
        browser.follow("2600 笔订单")
        browser.wait_for("以下为一次操作涉及的订单")
        assert not browser.faults()


def test_the_tick_at_the_head_ticks_all_of_the_page(console: str) -> None:
    with chromium(console) as browser:
        open_list(browser)
        browser.click("[data-ticks]")
        browser.click("[name=order]")
        open_act(browser)
        assert "标记异常已处理：49 笔订单" in browser.text


def test_without_scripts_a_button_goes_on(console: str) -> None:
    with chromium(console) as browser:
        open_list(browser)
        browser.run_no_scripts()
        browser.click("[name=scope]")
        open_act(browser)
        browser.type("reason", "x")
        browser.click("button.do")
        for done in ("1,000", "2,000"):
            browser.wait_for(f"完成 {done} 笔")
            browser.press("继续")
        browser.wait_for("完成 2,600 笔")
