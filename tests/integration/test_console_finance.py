"""The console's page for finance: the report of a period, and a statement that is sent and compared."""

import io
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from tests.integration.test_cli_compare import HEADER, SEEDED, fill, rows_of
from tests.support.console import READER, console_of, hidden_fields
from tests.support.pages import pages_of
from tests.support.reconciling import Workbench
from tests.support.xlsx_files import read_xlsx
from worker.database.tables import ORDERS
from worker.views.finance import Check
from worker.web.console.finance import LARGEST_STATEMENT, Readings, Refused

# Reports and comparisons of every database: test_cli_report, test_cli_compare.
pytestmark = pytest.mark.databases("sqlite")

DAYS = {"from": "2016-01-31", "to": "2016-01-31"}
REPORT = "/finance/report?from=2016-01-31&to=2016-02-01"


@pytest.fixture
def client(bench: Workbench) -> Iterator[FlaskClient]:
    """Somebody who may read, and not act."""
    with console_of(bench.url, READER) as opened:
        yield opened


def sent(
    client: FlaskClient, statement: bytes, path: str = "/finance/compare", *, length: int | None = None, **typed: str
) -> TestResponse:
    """Send the form with a statement, which says that it has so many bytes."""
    page = client.get("/finance", query_string=DAYS)
    form: dict[str, Any] = {**hidden_fields(page.text), **DAYS, **typed, "statement": (io.BytesIO(statement), "s.csv")}
    said = {} if length is None else {"CONTENT_LENGTH": f"{length}"}
    return client.post(path, data=form, environ_overrides=said)


def shown(answer: TestResponse) -> str:
    return unescape(answer.text)


def test_the_page_opens_with_yesterday_and_reads_the_report_apart(bench: Workbench) -> None:
    zone = bench.zone_where_it_is(12)
    yesterday = bench.now().astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
    with console_of(bench.url, READER, timezone=zone) as client:
        opened = client.get("/finance")
        assert (opened.status_code, opened.location) == (302, f"/finance?from={yesterday}&to={yesterday}")
        page = client.get(opened.location).text
    assert f'hx-get="/finance/report?from={yesterday}&amp;to={yesterday}"' in page
    for words in ("Today", "Yesterday", "Last 7 days", "This month"):
        assert words in page


def test_the_report_has_a_row_for_each_day_and_totals(bench: Workbench, client: FlaskClient) -> None:
    fill(bench)
    page = client.get(REPORT).text
    assert [f"￥{amount}" in page for amount in ("14.70", "2.94", "17.64")] == [True] * 3
    rows = read_xlsx(client.get(f"{REPORT}&format=xlsx").data)["Report"].rows()
    header = rows[0]
    assert header[0] == "Day"
    table = [dict(zip(header, row, strict=False)) for row in rows[1:] if row]
    assert [row["Day"] for row in table] == ["2016-01-31", "2016-02-01", "Total"]
    assert [row["Charged amount"] for row in table] == [Decimal("14.7"), Decimal("2.94"), Decimal("17.64")]
    assert [row["By callback"] for row in table] == [6, 1, 7]


def test_the_report_has_a_row_for_each_account_of_which_one_may_be_chosen(
    bench: Workbench, client: FlaskClient
) -> None:
    fill(bench)
    bench.run(update(ORDERS).where(ORDERS.c.request_id == "r0").values(account="shop"))
    lines = client.get(f"{REPORT}&by=account&format=csv").data.decode("utf-8-sig").splitlines()
    assert [line.split(",")[:2] for line in lines] == [["account", "by_callback"], ["default", "6"], ["shop", "1"]]
    lines = client.get(f"{REPORT}&by=account&format=csv&account=shop").data.decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines] == ["account", "shop"]


@pytest.mark.parametrize("days", ["", "?from=soon", "?from=2016-01-31&to=2016-01-30", "?from=2014-01-01&to=2016-01-01"])
def test_a_period_that_is_none_or_too_long_is_refused(client: FlaskClient, days: str) -> None:
    answer = client.get(f"/finance/report{days}")
    assert answer.status_code == 422
    assert "Please choose" in answer.text
    # A browser puts no other answer into its page.
    assert client.get(f"/finance/report{days}", headers={"HX-Request": "true"}).status_code == 200


def test_a_statement_is_compared_as_the_command_compares_it(bench: Workbench, client: FlaskClient) -> None:
    fill(bench)
    page = shown(sent(client, SEEDED))
    assert "4 rows agree. Statement minus our orders: ￥1.06" in page
    for words in ("another amount than ours", "our order, not in the statement", "c-alone", "合计", "strange"):
        assert words in page
    wide = sent(client, SEEDED, "/finance/compare?format=xlsx")
    rows = read_xlsx(wide.data)["Differences"].rows()
    assert rows[0][:3] == ["What differs", "Platform number", "Line of the statement"]
    assert {row[0] for row in rows[1:] if row} == {
        *("State differs", "Amount differs", "Not ours", "Missing from the statement"),
        *("Twice in the statement", "Cannot be read"),
    }


def test_words_and_columns_of_the_statement_are_those_that_are_typed(bench: Workbench, client: FlaskClient) -> None:
    fill(bench)
    statement = "流水号,结果,价\n" + "".join(f"r{number},好,2.94\n" for number in range(5)) + "r5,坏,0\n"
    names: dict[str, Any] = {"request_id_column": "流水号", "state_column": "结果", "amount_column": "价"}
    page = shown(sent(client, statement.encode("gb18030"), **names, succeeded="完成 好", failed="坏", time="settled"))
    assert "6 rows agree" in page
    assert "Nothing differs" in page
    refused = sent(client, b"", **names, succeeded="好", failed="好")
    assert (refused.status_code, "two states" in refused.text) == (422, True)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (b"no,header\n", "对账单中没有找到表头：订单号、状态、金额须各有一列；第一行是 'no', 'header'"),
        (b"\xff\xff\xff", "对账单既不是 UTF-8 也不是 GB18030"),
        (HEADER.encode() + b'r1,"\xe6\x88\x90,1\n', "对账单第 2 行不是 CSV"),
        # A row of very many cells, in one line and in many: of millions it takes ten times the memory of the file.
        (HEADER.encode() + b"r1,1,1\n" + b"," * 400_000, "对账单第 3 行不是 CSV"),
        (HEADER.encode() + b',,,,,,,"\n"' * 40_000, "对账单第 6555 行不是 CSV"),
        (rows_of(("r1", "好", "1")), "状态：'好' 不是已说明的状态用语"),
    ],
)
def test_what_is_no_statement_is_refused_in_the_readers_language(
    client: FlaskClient, statement: bytes, words: str
) -> None:
    client.set_cookie("language", "zh")
    answer = sent(client, statement)
    assert answer.status_code == 422
    assert words in shown(answer)


def test_the_form_has_to_name_a_file(client: FlaskClient) -> None:
    page = client.get("/finance", query_string=DAYS)
    answer = client.post("/finance/compare", data={**hidden_fields(page.text), **DAYS})
    assert "Please choose the file" in answer.text


def test_a_file_is_taken_on_this_route_alone_and_up_to_16_mb(bench: Workbench, client: FlaskClient) -> None:
    assert sent(client, SEEDED, length=LARGEST_STATEMENT + 1).status_code == 413
    form = {"language": "zh", "file": (io.BytesIO(b"x"), "s.csv")}
    assert client.post("/language", data=form).status_code == 400


def test_a_form_without_its_token_is_refused(client: FlaskClient) -> None:
    form = {**DAYS, "statement": (io.BytesIO(SEEDED), "s.csv")}
    assert client.post("/finance/compare", data=form).status_code == 403


def test_without_a_user_a_statement_is_not_offered(bench: Workbench) -> None:
    with pages_of(bench.url) as pages:
        assert "To compare a statement, sign in." in pages.text("/finance?from=2016-01-31")


def test_one_long_reading_at_a_time_and_none_for_too_long(client: FlaskClient) -> None:
    times = iter([0.0, 19.0, 21.0, 30.0])
    readings = Readings(patience_seconds=0.01, clock=lambda: next(times))

    def read(check: Check) -> None:
        with pytest.raises(Refused, match="half a minute"):
            readings.read(lambda _: None)
        check(100_000)
        with pytest.raises(Refused, match="fewer days"):
            check(100_001)
        with pytest.raises(Refused, match="fewer days"):
            check(0)

    with client.application.test_request_context():
        readings.read(read)
        readings.read(lambda _: None)
