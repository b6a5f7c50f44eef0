"""The console in a real browser: both languages, a desktop's window and a phone's, with scripts and without.

With RECONCILER_TEST_PICTURES=FOLDER each page is saved there as it was seen. Two of these pictures are in docs.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.support.back_office import MARKUP, BackOffice, fill, name_of
from tests.support.browser import DESK, PHONE, Browser, chromium, needed_browser
from tests.support.command_line import ACCOUNT, CommandLine
from tests.support.processes import environment, running_serve
from tests.support.reconciling import SID, Workbench, item
from tests.support.servers import EmbeddedPostgres
from tests.support.visitors import ACTOR, PASSWORD, READER, write_users
from tests.support.waiting import eventually
from tests.support.watching import unwatched
from worker.adapters.clock import HostClock
from worker.database.migrations import upgrade
from worker.domain.records.accounts import Rules
from worker.domain.records.orders import OrderState
from worker.operations.write_heartbeat import Heartbeat, Signs, host_name

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Names that stand in English on a Chinese page as well: of fields, formats, and what the tests have stored.
NAMES = {"CSV", "HTTP", "id", "request_id", "custom_parm", "reconciler", "enqueue_orders", "endpoint_differs"}
NAMES |= {"default", ACTOR, READER, "SHOP", "https", "billing", "example", "hooks"}

FIRST_PLOTS = 910
"""Height of the overview to the end of its first row of plots, in CSS pixels."""

# What a page shows in its reader's language: its words, and those of attributes that are read or heard. Left out is
# what stands as somebody has stored it.
WORDS = """
const stored = 'script, style, code, pre, .id, td.text, .detail, body [lang]';
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  if (!node.parentElement.closest(stored)) found.push(node.textContent);
}
for (const name of ['placeholder', 'title', 'aria-label', 'data-label', 'alt'])
  for (const one of document.querySelectorAll(`[${name}]`)) found.push(one.getAttribute(name));
return found.join('\\n') + '\\n' + document.title;
"""
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
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    needed_browser()
    folder = tmp_path_factory.mktemp("console")
    with EmbeddedPostgres() as postgres:
        upgrade(postgres.url)
        bench = Workbench(postgres.url, Rules()).open()
        # The row of a worker that ticks.
        signs = Signs(**dict.fromkeys(("tick", "beat", "broker_asked", "broker_answered"), lambda: 0.0))
        heartbeat = Heartbeat(bench.database, HostClock(), signs, ["default"], unwatched())
        try:
            office = fill(bench)
            env = environment(database_url=postgres.url, account_sid=SID, users_file=write_users(folder / "users.toml"))
            with running_serve(env, folder, "--only", "operate") as (_, url):
                yield Console(url, office, bench)
        finally:
            heartbeat.close()
            bench.close()


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


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_each_page_fits_and_speaks_its_readers_language(console: Console, language: str, width: int) -> None:
    with chromium(console.url, language=language, width=width) as browser:
        browser.open("/")
        sign_in(browser, READER)
        browser.wait_for(READER, "header .viewer")
        for name, path in console.office.pages.items():
            browser.open(path)
            eventually(lambda: not browser.has(".counting"), f"the figures of {path}")
            keep_picture(browser, f"{language}-{width}-{name}")
            assert_it_fits(browser, path)
            # It names the status of a page that is not there.
            assert [fault for fault in browser.faults() if name != "missing"] == [], path
            assert browser.script("return document.documentElement.lang") == language
            if language == "zh-CN":
                words = names_in(browser.script(WORDS).replace(host_name(), "").replace(MARKUP, ""))
                assert words <= NAMES, (path, words - NAMES)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]{2,}", text))


def assert_it_fits(browser: Browser, path: str) -> None:
    """Nothing has to be scrolled sideways but the navigation, and both it and the search are reached."""
    assert browser.overflow == 0, path
    assert browser.script("const m = document.querySelector('main'); return m.scrollWidth <= m.clientWidth"), path
    for selector in ("header input[name=q]", "header .search button", "nav a:last-of-type"):
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
    reading.open("/queries")
    reading.script("window.isTheSame = true")
    console.bench.add("2026112755000001")
    query = console.bench.reconcile([item("2026112755000001")])
    eventually(lambda: reading.has(f"#rows a[href='/queries/{query.id}']"), "the new query is shown")
    assert reading.script("return window.isTheSame")
    assert reading.faults() == []


def test_markup_in_a_remark_is_text(reading: Browser, console: Console) -> None:
    for path in (f"/orders/{console.office.with_markup}", "/orders"):
        reading.open(path)
        assert not reading.has("main img, main script")
    reading.open(f"/orders/{console.office.with_markup}")
    reading.wait_for(MARKUP)
    assert reading.faults() == []


def test_without_scripts_orders_are_found_and_the_language_changes(reading: Browser, console: Console) -> None:
    reading.run_no_scripts()
    reading.open("/orders")
    assert reading.script("return typeof htmx") == "undefined"
    reading.type("q", "188 1234 0007").submit()
    reading.wait_for("SHOP-4007")
    reading.press("English")
    reading.wait_for("Order", "h1")
    reading.follow("Needs a person")
    reading.follow(console.bench.order(name_of(console.office.amount_differs)).request_id or "")
    reading.wait_for("What to do:")


def test_people_sign_in_and_out(desk: Browser) -> None:
    desk.open("/queries")
    sign_in(desk, READER, "not the right password")
    desk.wait_for("用户名或密码", "[role=alert]")
    keep_picture(desk, "zh-CN-sign-in-wrong")
    sign_in(desk, READER)
    eventually(lambda: desk.path == "/queries", "the page that was asked for")
    desk.wait_for(READER, "header .viewer")
    desk.press("退出登录")
    eventually(lambda: desk.path == "/sign-in", "the sign-in")
    desk.open("/queries")
    assert not desk.has("header .viewer form")


def test_a_clerk_settles_what_needs_a_person_under_their_own_name(desk: Browser, console: Console) -> None:
    order = f"/orders/{console.office.unresolved}"
    desk.open("/")
    sign_in(desk, ACTOR)
    desk.wait_for(ACTOR, "header .viewer")
    eventually(lambda: not desk.has(".counting"), "the figures")
    keep_picture(desk, "console-overview", FIRST_PLOTS)
    desk.follow("异常订单")
    desk.find(f"main a[href='{order}']").click()
    desk.wait_for("处理办法：")
    keep_picture(desk, "console-order")
    desk.follow("人工确认结果")
    desk.find("main [name=state][value=succeeded]").click()
    desk.type("amount", "3.10")
    desk.type("reason", "平台客服确认已充值")
    keep_picture(desk, "zh-CN-settle-typed")
    desk.press("下一步：核对一遍")
    desk.wait_for("￥3.10")
    desk.wait_for("￥2.94")
    keep_picture(desk, "zh-CN-settle-again")
    desk.press("人工确认结果")
    desk.wait_for("成功", "h1")
    keep_picture(desk, "zh-CN-settled")
    assert desk.faults() == []
    cli = CommandLine({**ACCOUNT, "RECONCILER_DATABASE_URL": console.bench.url})
    (act,) = (act for act in cli.json("acts") if act["act"] == "resolve")
    assert (act["actor"], act["reason"]) == (ACTOR, "平台客服确认已充值")
    (settled,) = (one for one in console.bench.orders() if one.id == console.office.unresolved)
    assert (settled.state, settled.ori_amount) == (OrderState.SUCCEEDED, Decimal("3.10"))
