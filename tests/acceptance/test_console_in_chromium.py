"""The console in a real browser: both languages, windows of three widths, light and dark, with scripts and without.

With RECONCILER_TEST_PICTURES=FOLDER each page is saved there as it was seen (`make pictures`); those of docs/ in
a folder of this name.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.back_office import BackOffice, fill, name_of
from tests.support.browser import WIDTHS, Browser, chromium
from tests.support.databases import Postgresql
from tests.support.reconciling import Workbench, item
from tests.support.served_console import served_console
from tests.support.visitors import ACTOR, PASSWORD, READER
from tests.support.waiting import eventually
from tests.support.watching import signs_of_a_well_worker, unwatched
from worker.adapters.clock import HostClock
from worker.domain.records.orders import OrderState
from worker.operations.write_heartbeat import Heartbeat

pytestmark = pytest.mark.slow

PICTURE_WIDTH = 1240
PICTURES = {"overview": 1030, "work-list": 780, "order": 900, "finance": 620}
"""Heights of the pictures in docs/, in CSS pixels."""

# Two characters look different where the font has them: what it lacks is drawn as the same box.
DRAWN = """
const canvas = document.createElement('canvas'), paper = canvas.getContext('2d');
paper.font = '40px ' + getComputedStyle(document.body).fontFamily;
return [...'订单￥'].map(one => {
  paper.clearRect(0, 0, 300, 150);
  paper.fillText(one, 20, 60);
  return canvas.toDataURL();
});
"""
# Texts that are hard to read: their contrast with what lies behind them is below 5.5.
FAINT = """
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(one => one / 255)
  .map(one => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
  .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
const behind = element => {
  for (let one = element; one; one = one.parentElement) {
    const colour = parts(getComputedStyle(one).backgroundColor);
    if (colour[3] === undefined || colour[3] > 0.5) return colour;
  }
  return [255, 255, 255];
};
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest('title, desc')) continue;
  const style = getComputedStyle(element);
  const [one, other] = [parts(element.closest('svg') ? style.fill : style.color), behind(element)].map(light);
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (contrast < 5.5) faint.push(`${walker.currentNode.textContent.trim()}: ${contrast.toFixed(1)}`);
}
return faint;
"""
# Ids that take more than one line.
WRAPPED = """
return [...document.querySelectorAll('.id, .id *')].flatMap(one => [...one.childNodes]).filter(node => {
  const text = document.createRange();
  text.selectNode(node);
  const lines = new Set([...text.getClientRects()].map(box => Math.round(box.top)));
  return node.nodeType === Node.TEXT_NODE && lines.size > 1;
}).map(node => node.textContent);
"""
# Tables without a caption, and rows of lists with more than one link.
TABLES = """
return [...document.querySelectorAll('table')].filter(one => !one.caption).length
  + [...document.querySelectorAll('#rows tbody tr, .frame tbody tr')]
    .filter(one => one.querySelectorAll('a').length > 1).length;
"""
# Where an element begins and ends, once it was scrolled to.
REACHED = """
arguments[0].scrollIntoView({inline: 'nearest'});
const box = arguments[0].getBoundingClientRect();
return [box.left, box.right];
"""


@dataclass(frozen=True)
class Console:
    """A program that serves a filled database."""

    url: str
    office: BackOffice
    bench: Workbench


@pytest.fixture(scope="module")
def console(postgresql_server: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with served_console(postgresql_server, tmp_path_factory.mktemp("console")) as (url, bench):
        # The row of a worker that ticks.
        signs = signs_of_a_well_worker()
        heartbeat = Heartbeat(bench.database, HostClock(), signs, ["default"], unwatched())
        try:
            yield Console(url, fill(bench), bench)
        finally:
            heartbeat.close()


@pytest.fixture
def desk(console: Console) -> Iterator[Browser]:
    """A browser at a desk, in Chinese."""
    with chromium(console.url) as browser:
        yield browser


def keep_picture(browser: Browser, name: str, height: int | None = None) -> None:
    if folder := os.environ.get("RECONCILER_TEST_PICTURES"):
        browser.save_picture(Path(folder) / f"{name}.png", height)


def sign_in(browser: Browser, name: str, password: str = PASSWORD) -> None:
    browser.type("name", name)
    browser.type("password", password).submit()


@pytest.fixture
def reading(desk: Browser) -> Browser:
    """The same, of somebody who may read."""
    desk.open("/")
    sign_in(desk, READER)
    desk.wait_for(READER, "header .viewer")
    return desk


@pytest.mark.parametrize(("language", "folder"), [("en", "docs"), ("zh-CN", "docs/zh-CN")])
def test_the_pages_that_documents_show_speak_one_language(console: Console, language: str, folder: str) -> None:
    order = console.office.amount_differs
    pages = {"overview": "/", "work-list": "/attention", "order": f"/orders/{order}?list=", "finance": "/finance"}
    with chromium(console.url, language=language, width=PICTURE_WIDTH) as browser:
        browser.open("/")
        sign_in(browser, ACTOR)
        browser.wait_for(ACTOR, "header .viewer")
        for name, path in pages.items():
            browser.open(path)
            eventually(lambda: not browser.has(".counting, #report[hx-get]"), f"the figures of {path}")
            eventually(lambda: browser.text_of("#todo-count").isdecimal(), "the number in the navigation")
            keep_picture(browser, f"{folder}/console-{name}", PICTURES[name])
            assert browser.script("return document.documentElement.lang") == language


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_each_page_fits_and_speaks_its_readers_language(console: Console, language: str) -> None:
    with chromium(console.url, language=language) as browser:
        browser.open("/")
        sign_in(browser, ACTOR)
        browser.wait_for(ACTOR, "header .viewer")
        pages = {**console.office.pages, **pages_of_acts(console.office)}
        for name, path in pages.items():
            browser.open(path)
            eventually(lambda: not browser.has(".counting"), f"the figures of {path}")
            for width in WIDTHS:
                assert_it_looks_well(browser.at(width), path, f"{language}-{width}-{name}")
            # It names the status of a page that is not there.
            assert [fault for fault in browser.faults() if name != "missing"] == [], path
            assert browser.script(TABLES) == 0, path
            assert browser.script("return document.documentElement.lang") == language


def pages_of_acts(office: BackOffice) -> dict[str, str]:
    """Paths of pages with a form, by a name for each."""
    order = f"/orders/{office.unresolved}/acts"
    paused = {"pause": "/accounts/pause?account=default", "plan": "/maintenance/plan"}
    others = {**paused, "many": "/orders/acts/dismiss?attention=too_old&scope=all"}
    return {"settle": f"{order}/resolve", "reopen": f"{order}/reopen", **others, "sign-in": "/sign-in"}


def assert_it_looks_well(browser: Browser, path: str, picture: str) -> None:
    """It fits, no id wraps, and light and dark have their contrast."""
    assert_it_fits(browser, path)
    assert browser.script(WRAPPED) == [], (path, browser.width)
    for scheme in ("dark", "light"):
        browser.prefer(scheme)
        keep_picture(browser, f"{picture}-{scheme}")
        assert browser.script(FAINT) == [], (path, scheme)


def assert_it_fits(browser: Browser, path: str) -> None:
    """The page is not scrolled sideways, only its navigation and tables; navigation and search are reached."""
    assert browser.overflow == 0, (path, browser.width)
    assert browser.script("const m = document.querySelector('main'); return m.scrollWidth <= m.clientWidth"), path
    for selector in ("nav a:last-of-type", "nav a", "header input[name=q]", "header .search button"):
        left, right = browser.script(REACHED, browser.find(selector))
        assert left >= 0, (path, selector)
        assert right < browser.width + 1, (path, selector)


def test_chinese_is_drawn_with_chinese_glyphs(reading: Browser) -> None:
    reading.open("/orders")
    assert len(set(reading.script(DRAWN))) == 3


def test_the_search_is_reached_and_used_by_the_keyboard(reading: Browser, console: Console) -> None:
    reading.open("/attention")
    keys = ActionChains(reading.driver)
    # Past the link to the content, and the name of the program.
    keys.send_keys(Keys.TAB * 3 + name_of(20) + Keys.ENTER).perform()
    eventually(lambda: reading.path == f"/orders/{console.bench.order(name_of(20)).id}", "the order is open")
    reading.open("/attention")
    ActionChains(reading.driver).send_keys(Keys.TAB + Keys.ENTER + Keys.TAB).perform()
    assert reading.script("return document.activeElement.closest('main') !== null")


def test_a_list_refreshes_itself_where_it_stands(reading: Browser, console: Console) -> None:
    reading.refresh_often()
    reading.open("/queries")
    reading.script("window.isTheSame = true")
    console.bench.add("2026112755000001")
    query = console.bench.reconcile([item("2026112755000001")])
    eventually(lambda: reading.has(f"#rows a[href='/queries/{query.id}']"), "the new query is shown")
    assert reading.script("return window.isTheSame")
    assert reading.faults() == []


def test_a_refresh_keeps_focus_and_selected_text(reading: Browser, console: Console) -> None:
    reading.refresh_often()
    reading.open("/queries")
    reading.wait_for("更新于 ", ".refreshed")
    focused = reading.script("const a = document.querySelector('#rows tbody a'); a.focus(); return a.textContent")
    add_a_query(console, "2026112755000002")
    eventually(lambda: reading.text_of("#rows tbody a") != focused, "the new query is shown")
    # The page gives the focus back once it has settled.
    eventually(lambda: reading.script("return document.activeElement.textContent") == focused, "the same focus")
    first = reading.text_of("#rows tbody a")
    reading.script("getSelection().selectAllChildren(document.querySelector('#rows tbody td:nth-child(2)'))")
    selected = reading.script("return getSelection().toString()")
    reading.script("window.skipped = 0; addEventListener('htmx:beforeSwap', e => skipped += !e.detail.shouldSwap)")
    add_a_query(console, "2026112755000003")
    eventually(lambda: reading.script("return skipped") > 0, "a refresh that came meanwhile")
    assert (reading.script("return getSelection().toString()"), reading.text_of("#rows tbody a")) == (selected, first)
    reading.script("getSelection().removeAllRanges()")
    eventually(lambda: reading.text_of("#rows tbody a") != first, "the newest query is shown")


def add_a_query(console: Console, name: str) -> None:
    console.bench.add(name)
    console.bench.reconcile([item(name)])


def test_a_page_without_a_connection_says_so_after_20_seconds(reading: Browser) -> None:
    reading.refresh_often()
    reading.open("/attention?tab=account")
    reading.wait_for("更新于 ", ".refreshed")
    reading.connect(online=False)
    # One at a time is sent: after a failure none from before the cut can come.
    reading.script("window.failed = 0; addEventListener('htmx:sendError', e => failed += e.target.id === 'rows')")
    eventually(lambda: reading.script("return failed") > 0, "a refresh that fails")
    # The page's clock stands still, and the page counts from now on.
    reading.script(
        "const at = Date.now(); window.later = 20000; Date.now = () => at; document.dispatchEvent(new Event("
        "'visibilitychange')); Date.now = () => at + later; document.querySelector('.refreshed').textContent = ''"
    )
    reading.wait_for("更新于 ", ".refreshed")
    assert not reading.has(".refreshed.away")
    reading.script("later = 20001")
    eventually(lambda: reading.has(".refreshed.away"), "the page says that it is cut off")
    assert re.fullmatch(r"连接已断开，显示的是 \d\d:\d\d:\d\d 的数据", reading.text_of(".refreshed"))
    keep_picture(reading, "zh-CN-offline")
    reading.connect(online=True)
    reading.wait_for("更新于 ", ".refreshed")
    # This page does not refresh itself; the count in its navigation does.
    reading.open("/attention")
    assert (reading.has("nav [hx-trigger]"), reading.has("main [hx-trigger*='every']")) == (True, False)
    assert reading.text_of(".refreshed") == ""


def test_one_works_through_what_needs_a_person(desk: Browser, console: Console) -> None:
    desk.open("/attention")
    sign_in(desk, ACTOR)
    heads = ["手机号", "订单", "应扣金额", "实扣金额", "差额", "等待", "状态", "原因", "平台最近回复", "接口账号"]
    eventually(lambda: desk.text_of("thead").split() == heads, "the list of orders")
    eventually(lambda: desk.text_of("#todo-count").isdecimal(), "the number in the navigation")
    order = console.bench.order(name_of(console.office.amount_differs))
    row = f"return document.querySelector('a[href^=\"/orders/{order.id}?list=\"]').closest('tr').innerText"
    assert desk.script(row).split()[:5] == [
        *(order.mobile, order.request_id, f"￥{order.expected_amount:.2f}", f"￥{order.ori_amount:.2f}", "￥2.00")
    ]
    # Nothing is ticked away by a refresh, and the head ticks all.
    desk.click("thead input[type=checkbox]")
    ticked, rows = (len(desk.driver.find_elements("css selector", one)) for one in ("td :checked", "tbody tr"))
    assert ticked == rows > 1
    keep_picture(desk, "zh-CN-work-list")
    desk.click("main a[href='/attention?attention=amount_mismatch']")
    desk.wait_for("处理办法：")
    assert desk.has(f"main a[href='/orders/{order.id}?list=attention%3Damount_mismatch']")
    for tab in ("account", "notification", "unmatched", "rejected"):
        desk.click(f"main .tabs a[href='/attention?tab={tab}']")
        desk.find(f".tabs a[aria-current][href='/attention?tab={tab}']")
        keep_picture(desk, f"zh-CN-work-list-{tab}")
    desk.open("/attention?sort=oldest")
    for width in WIDTHS:
        shown = desk.at(width)
        assert_it_fits(shown, shown.path)
        keep_picture(shown, f"zh-CN-{width}-work-list")
    first, second = (one.get_attribute("href") for one in desk.driver.find_elements("css selector", "tbody a")[:2])
    desk.click("tbody a")
    desk.wait_for("下一笔")
    keep_picture(desk, "zh-CN-work-list-order")
    desk.follow("下一笔")
    eventually(lambda: desk.driver.current_url == second != first, "the next order")
    desk.follow("回到列表")
    eventually(lambda: desk.path == "/attention?sort=oldest", "the same list")
    assert desk.faults() == []


def test_a_page_is_printed_without_what_is_clicked(reading: Browser) -> None:
    reading.open("/orders")
    reading.at(700).prefer("light", "print")
    for hidden in ("header", "nav", "main form", ".pager"):
        assert reading.script("return getComputedStyle(document.querySelector(arguments[0])).display", hidden) == "none"
    assert reading.script("return getComputedStyle(document.querySelector('tbody tr')).display") == "table-row"
    assert reading.text_of("h1") == "订单"


def test_without_scripts_orders_are_found_and_the_language_changes(reading: Browser, console: Console) -> None:
    reading.run_no_scripts()
    reading.open("/orders")
    assert reading.script("return typeof htmx") == "undefined"
    reading.type("q", "188 1234 0007").submit()
    reading.wait_for("SHOP-4007")
    reading.press("English")
    reading.wait_for("Order", "h1")
    reading.click("nav a[href='/attention']")
    reading.follow(console.bench.order(name_of(console.office.amount_differs)).request_id or "")
    reading.wait_for("What to do:")


TYPED = ("failed", "3,000.10元", "平台客服：已扣款，工单 77")
# The page that asks once more holds the same values, hidden. That of the order has a form for notes.
HELD = """
const form = document.querySelector('form.act');
if (!form?.elements.state || form.elements.reason.type === 'hidden') return null;
return [form.elements.state.value, form.elements.amount.value, form.elements.reason.value];
"""


KEPT = "return Object.keys(sessionStorage).filter(one => one.startsWith('typed '))"


@pytest.fixture
def settling(desk: Browser, console: Console) -> Browser:
    """A browser at the form that settles a pending order by hand, with all of it typed."""
    number = f"20261127{console.bench.now():%H%M%S%f}"
    console.bench.add(number, expected_amount="2.94")
    desk.open(f"/orders/{console.bench.order(number).id}/acts/resolve")
    sign_in(desk, ACTOR)
    state, amount, reason = TYPED
    desk.click(f"main [name=state][value={state}]")
    desk.type("amount", amount)
    desk.type("reason", reason)
    return desk


def expire_sign_ins(console: Console) -> None:
    console.bench.run("DELETE FROM console_sessions")


def test_neither_back_nor_change_loses_what_was_typed(settling: Browser) -> None:
    settling.press("下一步：核对一遍")
    settling.wait_for("￥3000.10")
    settling.wait_for("充值失败却有扣款")
    keep_picture(settling, "zh-CN-settle-failed-with-charge")
    settling.driver.back()
    eventually(lambda: settling.script(HELD) == list(TYPED), "the form with all that was typed")
    settling.press("下一步：核对一遍")
    settling.wait_for("￥3000.10")
    settling.press("修改")
    eventually(lambda: settling.script(HELD) == list(TYPED), "the form once more")
    # A form that is opened by a link begins as it is sent.
    settling.follow("返回，不做更改")
    settling.click("a[href$='/acts/resolve']")
    eventually(lambda: settling.script(HELD) == ["", "2.94", ""], "a fresh form")
    assert settling.faults() == []


@pytest.mark.parametrize("is_preview", [False, True])
def test_a_sign_in_that_has_ended_loses_nothing_that_was_typed_and_does_nothing(
    settling: Browser, console: Console, is_preview: bool
) -> None:
    path = settling.path
    if is_preview:
        settling.press("下一步：核对一遍")
        settling.wait_for("￥3000.10")
    expire_sign_ins(console)
    settling.press("人工确认结果" if is_preview else "下一步：核对一遍")
    eventually(lambda: settling.path.startswith("/sign-in"), "the sign-in")
    sign_in(settling, ACTOR, "not the right password")
    settling.wait_for("用户名或密码", "[role=alert]")
    sign_in(settling, ACTOR)
    eventually(lambda: settling.path == path and settling.script(HELD) == list(TYPED), "the same form")
    order_id = int(path.split("/")[2])
    assert [order.state for order in console.bench.orders() if order.id == order_id] == [OrderState.PENDING]
    settling.press("下一步：核对一遍")
    settling.press("人工确认结果")
    settling.wait_for("失败", "h1")
    # What was done is not offered again.
    assert settling.script(KEPT) == []


def test_what_one_has_typed_is_not_shown_to_who_signs_in_next(settling: Browser) -> None:
    path = settling.path
    settling.press("退出登录")
    eventually(lambda: settling.path == "/sign-in", "the sign-in")
    assert settling.script(KEPT) == []
    settling.open(path)
    sign_in(settling, ACTOR)
    eventually(lambda: settling.script(HELD) == ["", "2.94", ""], "a fresh form")


def test_a_failed_recharge_begins_without_a_charge(settling: Browser) -> None:
    settling.driver.refresh()
    settling.type("amount", "2.94")
    settling.click("main [name=state][value=succeeded]")
    settling.click("main [name=state][value=failed]")
    assert settling.script(HELD)[1] == ""
    settling.click("main [name=state][value=succeeded]")
    assert settling.script(HELD)[1] == "2.94"


def has_text(element: WebElement, words: str) -> bool:
    return element.text == words


@pytest.mark.parametrize("width", WIDTHS)
def test_ids_and_phones_are_copied_by_a_button(console: Console, width: int) -> None:
    with chromium(console.url, width=width) as browser:
        rights = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": console.url}
        browser.driver.execute_cdp_cmd("Browser.grantPermissions", rights)
        browser.open(f"/orders/{console.bench.order(name_of(20)).id}")
        sign_in(browser, ACTOR)
        browser.wait_for("平台订单号")
        copied = []
        # "Copied" is shown for two seconds, in which a busy machine may not look.
        browser.script("const real = setTimeout; window.setTimeout = (call, ms) => ms === 2000 ? 0 : real(call, ms)")
        for button in browser.driver.find_elements("css selector", "main .copy"):
            button.click()
            eventually(partial(has_text, button, "已复制"), "it is copied")
            copied.append(browser.script("return navigator.clipboard.readText()"))
        order = console.bench.order(name_of(20))
        assert copied == [one for one in (order.request_id, order.custom_parm, order.mobile) if one]
        assert browser.overflow == 0
        keep_picture(browser, f"zh-CN-{width}-order-copied")
