"""What finance does in a real browser: the report, a statement of the platform, and a list as a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from tests.support.browser import WIDTHS, Browser, chromium
from tests.support.databases import Postgresql
from tests.support.reconciling import Workbench
from tests.support.served_console import served_console
from tests.support.settled_orders import callback
from tests.support.visitors import ACTOR, PASSWORD
from tests.support.waiting import eventually
from worker.database.tables import REJECTED

pytestmark = pytest.mark.slow

FETCHED = """const [path, done] = arguments;
const head = answer => [answer.status, answer.headers.get("Content-Disposition")];
fetch(path).then(answer => answer.blob().then(() => done(head(answer))));"""


@dataclass(frozen=True)
class Finance:
    """A console, with orders of today."""

    url: str
    bench: Workbench


@pytest.fixture(scope="module")
def finance(postgresql_server: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finance]:
    with served_console(postgresql_server, tmp_path_factory.mktemp("console")) as (url, bench):
        names = [f"202611270000000{number:03}" for number in range(3)]
        bench.add(*names, age_seconds=60.0, expected_amount="2.94", mobile="18812340804")
        bench.intake.record_callbacks([callback(name) for name in names])
        yield Finance(url, bench)


@pytest.fixture
def desk(finance: Finance) -> Iterator[Browser]:
    with chromium(finance.url) as browser:
        browser.open("/")
        browser.type("name", ACTOR)
        browser.type("password", PASSWORD).submit()
        browser.wait_for(ACTOR, "header .viewer")
        yield browser


def test_the_report_of_a_day_and_a_statement_are_shown(desk: Browser, finance: Finance, tmp_path: Path) -> None:
    last = finance.bench.now()
    first = last - timedelta(days=1)
    desk.open(f"/finance?from={first:%Y-%m-%d}&to={last + timedelta(days=1):%Y-%m-%d}")
    desk.wait_for("￥8.82", "#report tfoot")
    assert [desk.at(width).overflow for width in WIDTHS] == [0, 0, 0]
    statement = tmp_path / "statement.csv"
    statement.write_text(
        "平台订单号,状态,金额\n202611270000000000,成功,2.94\n202611270000000001,成功,3.00\n", encoding="gb18030"
    )
    desk.find("input[type=file]").send_keys(str(statement))
    desk.click("button.do")
    desk.wait_for("差异", "h2")
    assert "202611270000000001" in desk.text_of("main")
    assert "202611270000000000" not in desk.text_of("main")
    assert [desk.at(width).overflow for width in WIDTHS] == [0, 0, 0]
    assert desk.faults() == []


def test_a_list_is_downloaded_by_one_click_and_one_that_is_too_long_says_what_to_do(
    desk: Browser, finance: Finance
) -> None:
    long = {"source": "a task", "payload": "x" * 1_000_000, "errors": "", "received_at": finance.bench.now()}
    finance.bench.run(insert(REJECTED), *([long] * 20))
    desk.open("/rejected")
    path = desk.find("a[href*=xlsx]").get_attribute("href")
    assert desk.driver.execute_async_script(FETCHED, path) == [200, 'attachment; filename="rejected.xlsx"']
    finance.bench.run(insert(REJECTED), *([long] * 50))
    desk.follow("导出 Excel")
    desk.wait_for("超过 100,000 行", ".notice")
    assert [desk.at(width).overflow for width in WIDTHS] == [0, 0, 0]
    desk.follow("回到列表")
    eventually(lambda: desk.path == "/rejected", "the list")
    assert desk.faults() == []
