"""Rows as a file for Excel, read back from its parts."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support.xlsx_files import Cell, Sheet, read_xlsx
from worker.web.xlsx import XlsxFile, write_xlsx

HEADERS = {
    "id": "编号",
    "request_id": "平台订单号",
    "amount": "应扣金额",
    "at": "提交时间",
    "remark": "备注",
    "count": "次数",
}
TIMES = "yyyy-mm-dd hh:mm:ss"
Row = Mapping[str, object]


def written(
    rows: Sequence[Row], *, totals: Sequence[Row] = (), about: Sequence[tuple[str, object]] = ()
) -> dict[str, Sheet]:
    file = io.BytesIO()
    described = XlsxFile(
        name="订单",
        headers=HEADERS,
        zone=ZoneInfo("Asia/Shanghai"),
        totals=lambda: totals,
        about_name="说明",
        about=lambda: about,
    )
    write_xlsx(file, described, rows)
    return read_xlsx(file.getvalue())


def remark(text: str) -> Cell | None:
    return written([{"remark": text}])["订单"].column("备注")[0]


def test_ids_are_texts_amounts_numbers_and_times_local_times() -> None:
    at = datetime(2016, 1, 31, 16, 0, 0, 900_000, tzinfo=UTC)
    row = {"id": "7", "request_id": "202611270000337025", "amount": Decimal("98.0000"), "at": at, "count": 3}
    sheet = written([row])["订单"]
    assert sheet.rows()[0] == [*HEADERS.values()]
    assert [sheet.cells[1, column] for column in (0, 1, 2, 3, 5)] == [
        Cell("7", "@"),
        Cell("202611270000337025", "@"),
        Cell(Decimal(98), "0.00##"),
        Cell("2016-02-01 00:00:00", TIMES),
        Cell(Decimal(3), "0"),
    ]


@pytest.mark.parametrize("amount", ["2.9401", "0.0001", "9999999999.9999", "-0.5"])
def test_an_amount_keeps_its_four_decimals(amount: str) -> None:
    found = written([{"amount": Decimal(amount)}])["订单"].column("应扣金额")[0]
    assert found == Cell(Decimal(amount), "0.00##")


def test_a_number_with_more_digits_than_excel_holds_is_a_text() -> None:
    sheet = written([{"amount": Decimal("999999999999.9999"), "count": 1234567890123456}])["订单"]
    assert sheet.column("应扣金额")[0] == Cell("999999999999.9999", "@")
    assert sheet.column("次数")[0] == Cell("1234567890123456", "@")


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "=cmd|' /C calc'!A0",
        "http://example.com",
        "<r><t>a</t></r",
        "12",
        "_x0041_",
        " ",
    ],
)
def test_a_text_is_a_text_whatever_it_begins_with(text: str) -> None:
    assert remark(text) == Cell(text, "@")


def test_a_text_in_the_librarys_own_markup_is_a_text() -> None:
    assert remark("<r><t>a</t></r>") == Cell("<r><t>a</t></r> ", "@")


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x00b\x0bc", "a\\x00b\\x0bc"), ("a\nb", "a\\nb"), ("\ud800", "\\ud800")]
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert remark(text) == Cell(shown, "@")


def test_a_text_is_cut_where_a_cell_ends() -> None:
    assert remark("中" * 40_000) == Cell("中" * 32_767, "@")
    assert remark("\U0001f600" * 40_000) == Cell("\U0001f600" * 16_383, "@")


def test_the_header_stays_and_columns_are_as_wide_as_their_values() -> None:
    sheet = written([{"request_id": "2" * 30, "remark": "长" * 100}])["订单"]
    assert (sheet.frozen_rows, sheet.filtered) == (1, "A1:F2")
    assert (int(sheet.widths[1]), int(sheet.widths[4]), int(sheet.widths[0])) == (32, 62, 6)


def test_totals_stand_below_an_empty_row_and_are_not_filtered() -> None:
    sheet = written([{"id": "1", "amount": Decimal(2)}], totals=[{"id": "合计", "amount": Decimal(2)}])["订单"]
    assert sheet.rows()[1:] == [["1", None, Decimal(2)], [], ["合计", None, Decimal(2)]]
    assert sheet.filtered == "A1:F2"


def test_without_rows_there_is_a_header() -> None:
    assert written([])["订单"].rows() == [[*HEADERS.values()]]


def test_the_last_sheet_says_what_the_file_is() -> None:
    made_at = datetime(2016, 1, 31, tzinfo=UTC)
    sheet = written([], about=[("导出时间", made_at), ("行数", 0), ("状态", "=成功")])["说明"]
    assert sheet.rows() == [["导出时间", "2016-01-31 08:00:00"], ["行数", Decimal(0)], ["状态", "=成功"]]


def test_rows_are_read_one_by_one_and_nothing_is_left_behind_when_they_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def rows() -> Iterator[Row]:
        yield {"id": 1}
        assert os.listdir(tmp_path)
        raise ConnectionError("the database went away")

    described = XlsxFile(name="订单", headers=HEADERS, zone=UTC, about_name="说明", about=tuple)
    with pytest.raises(ConnectionError):
        write_xlsx(io.BytesIO(), described, rows())
    assert not os.listdir(tmp_path)
