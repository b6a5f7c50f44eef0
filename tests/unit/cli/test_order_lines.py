"""Reading orders from a file: what is on each line, and no crash whatever is on it."""

import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.cli.app import CommandError
from worker.cli.order_lines import LONGEST_LINE_BYTES, Columns, Format, Line, read_lines


def csv_lines(content: str | bytes) -> list[Line]:
    return lines(content, Format.CSV)


def json_lines(content: str | bytes) -> list[Line]:
    return lines(content, Format.JSONL)


def lines(content: str | bytes, kind: Format) -> list[Line]:
    return list(read_lines(io.BytesIO(content.encode() if isinstance(content, str) else content), kind))


def test_a_header_names_the_fields_and_an_empty_cell_is_absent() -> None:
    (line,) = csv_lines("request_id,custom_parm,mobile\n1001,,18812340804\n")
    assert line.order == {"request_id": "1001", "mobile": "18812340804"}
    assert (line.number, line.text, line.error) == (2, "1001,,18812340804", None)


def test_lines_are_numbered_as_an_editor_does_and_blank_ones_are_skipped() -> None:
    found = csv_lines("\n request_id , mobile\r\n\r\n1,\r\n   \n2,\n")
    assert [(line.number, line.order) for line in found] == [(4, {"request_id": "1"}), (6, {"request_id": "2"})]


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert csv_lines(b"\xef\xbb\xbfrequest_id\n7\n")[0].order == {"request_id": "7"}
    assert json_lines(b'\xef\xbb\xbf{"request_id":"7"}')[0].order == {"request_id": "7"}


def test_quoted_cells_are_read_as_csv_does() -> None:
    assert csv_lines('request_id,custom_parm\n"1","a""b, c"\n')[0].order == {"request_id": "1", "custom_parm": 'a"b, c'}


def test_a_stray_quote_spoils_its_own_line_only() -> None:
    first, second = csv_lines('request_id,mobile\n1,"188\n2,\n')
    assert first.error is not None
    assert first.error.startswith("line: not CSV")
    assert second.order == {"request_id": "2"}


@pytest.mark.parametrize(("row", "columns"), [("1", 1), ("1,,,", 4)])
def test_another_number_of_columns_is_reported(row: str, columns: int) -> None:
    (line,) = csv_lines(f"request_id,mobile\n{row}\n")
    assert line.error == f"line: has {columns} columns, while the header has 2"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("request_id,status", "names a column 'status'; accepted: request_id, custom_parm"),
        ("1001,18812340804", "no header names request_id or custom_parm; the first row has '1001', '18812340804'"),
        ("request_id,mobile,request_id", "names the column request_id twice"),
        ("mobile,account", "no header names request_id or custom_parm"),
        ('"request_id', "cannot be read: not CSV"),
        ("request_id,\xff", "cannot be read: byte 12 is not UTF-8"),
    ],
)
def test_a_header_that_cannot_be_used_ends_it(header: str, message: str) -> None:
    with pytest.raises(CommandError) as refused:
        csv_lines(header.encode("latin-1") + b"\n1\n")
    assert message in str(refused.value)


def test_each_line_of_json_lines_is_an_order() -> None:
    first, second = json_lines('{"request_id":"1"}\n\n{"custom_parm":"A","mobile":"18812340804"}')
    assert (first.number, first.order) == (1, {"request_id": "1"})
    assert (second.number, second.order) == (3, {"custom_parm": "A", "mobile": "18812340804"})


def test_a_number_stays_a_number_so_that_it_is_refused_where_a_string_is_due() -> None:
    numbers = '{"request_id":1,"expected_amount":2.5,"mobile":1e400,"account":123456789012345678901234567890}'
    order = json_lines(numbers)[0].order
    assert isinstance(order, dict)
    assert [type(value) for value in order.values()] == [int, float, float, float]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{bad", "not JSON"),
        ('{"request_id":"1"} {}', "not JSON"),
        ('{"a":NaN}', "NaN is not JSON"),
        ('{"request_id":"1","request_id":"2"}', "says one key twice"),
        ("[" * 1000, "nested deeper"),
    ],
)
def test_a_line_that_is_not_json_is_refused_and_the_rest_is_read(text: str, why: str) -> None:
    first, second = json_lines(f'{text}\n{{"request_id":"2"}}\n')
    assert first.error is not None
    assert why in first.error
    assert second.order == {"request_id": "2"}


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    first, second = csv_lines(b"request_id,mobile\n1,\xff\n2,\n")
    assert first.text == "1,\\xff"
    assert first.error == "line: byte 3 is not UTF-8; accepted: UTF-8 text"
    assert second.number == 3


@pytest.mark.parametrize("length", [LONGEST_LINE_BYTES + 1, LONGEST_LINE_BYTES + 2, 3 * LONGEST_LINE_BYTES + 7])
def test_a_line_that_is_too_long_is_refused_with_its_beginning(length: int) -> None:
    content = b"x" * length + b'\r\n{"request_id":"2"}\n'
    first, second = json_lines(content)
    assert first.error is not None
    assert "is longer than 65,536 bytes" in first.error
    assert first.text == "x" * 1000 + "..."
    assert (second.number, second.order, second.end) == (2, {"request_id": "2"}, len(content))


def test_the_longest_line_is_read() -> None:
    text = json.dumps({"request_id": "1", "mobile": ""})
    padded = text[:-2] + "x" * (LONGEST_LINE_BYTES - len(text)) + text[-2:]
    (line,) = json_lines(padded + "\r\n")
    assert line.error is None


@given(content=st.binary(max_size=300), kind=st.sampled_from(Format))
@example(content=b"request_id\n\x00\n", kind=Format.CSV)
@example(content=b'"\\ud800"', kind=Format.JSONL)
def test_whatever_the_file_holds_each_line_is_an_order_or_has_an_error(content: bytes, kind: Format) -> None:
    header = b"request_id,mobile\n" if kind is Format.CSV else b""
    found = lines(header + content, kind)
    numbers = [line.number for line in found]
    assert numbers == sorted(set(numbers))
    assert all((line.error is None) != (line.order is None) or line.text.strip() == "null" for line in found)
    if found:
        assert found[-1].end <= len(header + content)


BACK_OFFICE = [
    "充值订单导出;2016年1月\r\n",
    "\r\n",
    "平台订单号{0}商户订单号{0}手机号码{0}应扣金额\r\n",
    "'2016010000000219{0}订单一{0}18812340804{0}2.94\r\n",
    "{0}{0}{0}\r\n",
    "2016010000000220{0}订单二{0}18812340805{0}\r\n",
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_of_a_chinese_back_office_is_read_as_compare_reads_one(encoding: str, delimiter: str) -> None:
    found = csv_lines("".join(line.format(delimiter) for line in BACK_OFFICE).encode(encoding))
    first = {"request_id": "2016010000000219", "custom_parm": "订单一", "mobile": "18812340804"}
    second = {"request_id": "2016010000000220", "custom_parm": "订单二", "mobile": "18812340805"}
    assert [(line.number, line.order) for line in found] == [(4, {**first, "expected_amount": "2.94"}), (6, second)]


def test_columns_may_be_named_and_others_passed_over() -> None:
    content = "序号,流水号,状态\n1,A-1,成功\n".encode("gbk")
    named = {"request_id": "流水号"}
    with pytest.raises(CommandError, match="names a column '序号'"):
        list(read_lines(io.BytesIO(content), Format.CSV, Columns(names=named)))
    (line,) = read_lines(io.BytesIO(content), Format.CSV, Columns(names=named, passes_over=True))
    assert line.order == {"request_id": "A-1"}
    also = Columns(names={**named, "mobile": "手机"}, passes_over=True)
    with pytest.raises(CommandError, match="lacks '手机'"):
        list(read_lines(io.BytesIO(content), Format.CSV, also))


def test_a_line_in_another_encoding_than_most_is_refused_and_never_misread() -> None:
    mostly_utf8 = "request_id,custom_parm\n1,订单\n2,订单\n".encode() + "3,订单\n".encode("gbk")
    assert [line.error is None for line in csv_lines(mostly_utf8)] == [True, True, False]
    # The letters of one line in GBK may be UTF-8, too: the others decide.
    mostly_gbk = b"request_id,custom_parm\n1,\xd6\xbf\n" + "2,订单\n3,订单\n".encode("gbk")
    first, *_ = csv_lines(mostly_gbk)
    assert first.order == {"request_id": "1", "custom_parm": b"\xd6\xbf".decode("gbk")}


def test_a_head_without_a_hint_leaves_what_is_not_utf8_refused() -> None:
    rows = b"".join(b"%d,\n" % number for number in range(200_000))
    late = csv_lines(b"request_id,custom_parm\n" + rows + "x,订单\n".encode("gbk"))[-1]
    assert late.error == "line: byte 3 is not UTF-8; accepted: UTF-8 text"


def test_a_line_end_within_a_title_does_not_move_the_header() -> None:
    (line,) = csv_lines(b"a title\rof two lines\nrequest_id\n7\n")
    assert (line.number, line.order) == (3, {"request_id": "7"})
