"""The console's lists as files for Excel."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from tests.support.command_line import CommandLine
from tests.support.notifying import put_endpoint, put_notifications
from tests.support.pages import Pages, pages_of
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from tests.support.xlsx_files import Sheet, read_xlsx
from worker.database.tables import ORDERS
from worker.domain.records.notifications import NotificationState
from worker.domain.records.orders import OrderState, Source
from worker.words.catalogue import message, translations

# The statements are those of the pages.
pytestmark = pytest.mark.databases("sqlite")

zh = translations("zh").gettext
LISTS = ("/orders", "/notifications", "/queries", "/rejected", "/unmatched", "/acts")
NOON = datetime(2016, 1, 31, 4, tzinfo=UTC)


def sheets_of(pages: Pages, path: str, language: str = "en") -> dict[str, Sheet]:
    answer = pages.open(path, language)
    assert answer.status_code == 200
    assert answer.mimetype == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", answer.text
    return read_xlsx(answer.data)


def put_orders(bench: Workbench) -> None:
    bench.add("202611270000337025", mobile="18812340804", expected_amount="98")
    bench.add("failed", "waits", expected_amount="2.94")
    bench.reconcile([item("202611270000337025", amount="98.5001")])
    bench.intake.record_callbacks([callback("failed", "-1", "0.00")])
    bench.run("UPDATE recharge_orders SET submitted_at = :at, remark = '=1+1'", at="2016-01-31 04:00:00")


def test_orders_are_words_texts_amounts_and_local_times(bench: Workbench, pages: Pages) -> None:
    put_orders(bench)
    sheet = sheets_of(pages, "/orders?format=xlsx", "zh")["订单"]
    header = sheet.rows()[0]
    assert header[:7] == ["提交时间", "完成时间", "接口账号", "平台订单号", "商户订单号", "手机号", "状态"]
    assert header[8:11] == ["应扣金额", "实扣金额", "差额"]
    row = next(dict(zip(header, row, strict=False)) for row in sheet.rows() if "202611270000337025" in row)
    assert row["提交时间"] == "2016-01-31 12:00:00"
    assert (row["手机号"], row["状态"], row["异常原因"]) == ("18812340804", "成功", "金额不符")
    assert (row["应扣金额"], row["实扣金额"], row["差额"]) == (Decimal(98), Decimal("98.5001"), Decimal("0.5001"))
    assert (row["平台备注"], row["结果来源"]) == ("=1+1", zh(message(Source.QUERY)))


def test_sums_of_each_state_and_of_all_stand_at_the_end(bench: Workbench, pages: Pages) -> None:
    put_orders(bench)
    rows = sheets_of(pages, "/orders?format=xlsx")["Orders"].rows()
    below = rows[rows.index([]) + 1 :]
    assert {row[0]: row[8:11] for row in below} == {
        "Succeeded (1)": [Decimal(98), Decimal("98.5001"), Decimal("0.5001")],
        "Failed (1)": [Decimal(0), Decimal(0), Decimal(0)],
        "Pending (1)": [Decimal("2.94"), Decimal(0), Decimal(0)],
        "Total (3)": [Decimal("100.94"), Decimal("98.5001"), Decimal("0.5001")],
    }


def test_the_sums_of_a_day_are_those_of_its_report(bench: Workbench, pages: Pages, cli: CommandLine) -> None:
    put_orders(bench)
    bench.add("unexpected")
    bench.add("charged", expected_amount="5")
    bench.intake.record_callbacks([callback("unexpected"), callback("charged", "-1", "0.05")])
    bench.run("UPDATE recharge_orders SET amount_is_price = true, ori_amount = '7.00' WHERE request_id = 'failed'")
    bench.run("UPDATE recharge_orders SET settled_at = '2016-01-31 04:00:00' WHERE settled_at IS NOT NULL")
    day = "2016-01-31"
    report = cli.json("report", "--from", day, "--to", day)
    rows = sheets_of(pages, f"/orders?format=xlsx&settled_from={day}&settled_to={day}")["Orders"].rows()
    sums = {row[0].partition(" ")[0]: row[8:10] for row in rows[rows.index([]) + 1 :]}
    assert sums["Succeeded"][0] == Decimal(report["expected_amount"])
    assert sums["Total"] == [Decimal(report["expected_amount"]), Decimal(report["charged_amount"])]


def test_the_last_sheet_says_when_and_by_what_the_list_was_narrowed(bench: Workbench, pages: Pages) -> None:
    put_orders(bench)
    path = "/orders?format=xlsx&state=succeeded&attention=any&account=default&from=2016-01-01&to=2016-12-31&q=2026"
    about = dict(sheets_of(pages, path, "zh")["导出说明"].rows())
    assert about.pop("导出时间") > "2016"
    assert about == {
        "时区": "Asia/Shanghai",
        "行数": Decimal(1),
        "状态": "成功",
        "异常原因": "任意异常",
        "接口账号": "default",
        "提交日期从": "2016-01-01",
        "提交日期至": "2016-12-31",
        "订单号或手机号": "2026",
    }


@pytest.mark.parametrize("path", LISTS)
def test_every_list_has_a_file_with_names_in_both_languages(bench: Workbench, pages: Pages, path: str) -> None:
    english, chinese = (next(iter(sheets_of(pages, f"{path}?format=xlsx", one).items())) for one in ("en", "zh"))
    assert english[0] != chinese[0]
    assert chinese[0].isalnum()
    assert not chinese[0].isascii()
    names = [name for name in chinese[1].rows()[0] if name.isascii()]
    assert not names
    assert pages.link(path, "Download for Excel") is None


def test_rows_of_every_list_are_in_words(bench: Workbench, pages: Pages) -> None:
    put_endpoint(bench)
    put_orders(bench)
    put_notifications(bench, 1, state=NotificationState.GAVE_UP, outcome="http_error", http_status=500, answer="no")
    bench.run(
        "INSERT INTO operator_acts (at, actor, act, account) VALUES ('2016-01-31 10:00:00', 'li', 'pause', 'default')"
    )
    for path, words in (
        ("/queries", {zh("Answered"), "按平台订单号"}),
        ("/notifications?state=gave_up", {"HTTP 错误"}),
        ("/acts", {"li", "暂停查询"}),
        ("/attention", {"金额不符", zh(message(OrderState.SUCCEEDED))}),
    ):
        shown = pages.link(path, "Download for Excel")
        assert shown is not None, path
        sheet = next(iter(sheets_of(pages, shown, "zh").values()))
        assert words <= {value for row in sheet.rows() for value in row}, path
        assert any(cell.shape == "@" for cell in sheet.cells.values())


def test_a_page_of_orders_ends_with_the_sums_of_what_it_shows(bench: Workbench, pages: Pages) -> None:
    put_orders(bench)
    shown = pages.text("/orders", "zh")
    assert "本页：合计（3 笔） ￥100.94 ￥98.5001 ￥0.5001" in shown
    assert "本页：处理中（1 笔） ￥2.94 ￥0.00 ￥0.00" in shown
    one_state = pages.text("/orders?state=succeeded", "zh")
    assert "本页：合计（1 笔） ￥98.00 ￥98.5001 ￥0.5001" in one_state
    assert "本页：成功" not in one_state


def test_orders_are_narrowed_by_the_day_of_their_result_with_a_link_for_usual_ones(bench: Workbench) -> None:
    put_orders(bench)
    zone = bench.zone_where_it_is(12)
    noon = bench.now().astimezone(ZoneInfo(zone)).replace(hour=12, minute=0)
    for name, days in (("202611270000337025", 0), ("failed", 1)):
        settled = update(ORDERS).where(ORDERS.c.request_id == name)
        bench.run(settled.values(settled_at=noon - timedelta(days=days), updated_at=noon))
    with pages_of(bench.url, timezone=zone) as pages:
        for words, names in (
            ("今天", {"202611270000337025"}),
            ("昨天", {"failed"}),
            ("近 7 天", {"202611270000337025", "failed"}),
            ("本月", {"202611270000337025", "failed"} if noon.day > 1 else {"202611270000337025"}),
        ):
            path = next(path for path in pages.links("/orders?state=&after=7", words, "zh") if "settled_from" in path)
            assert "after" not in path
            sheets = sheets_of(pages, f"{path}&format=xlsx", "zh")
            assert {cell.value for cell in sheets["订单"].column("平台订单号") if cell} == names
            assert {"完成日期从", "完成日期至"} <= {*dict(sheets["导出说明"].rows())}
