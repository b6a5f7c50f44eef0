"""Tables hold no control characters and no markup, and never break an id."""

from collections.abc import Callable
from contextvars import Context
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from worker.cli.output import console, print_fields, print_table, wrapped
from worker.domain.records.orders import OrderState

CHINA = timezone(timedelta(hours=8))
NOON = datetime(2016, 1, 31, 12, 0, 30, tzinfo=CHINA)
HEX = "0123456789abcdef0123456789abcdef"
LONG = HEX * 2

Draw = Callable[..., list[str]]
"""Prints rows, and returns the lines without the frame around them."""


@pytest.fixture
def draw(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Draw:
    def drawn(*rows: dict[str, Any], width: int = 80, fields: bool = False, **options: Any) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        if fields:
            print_fields(console(), rows[0])
        else:
            print_table(console(), tuple(rows[0]), rows, **options)
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return drawn


@pytest.mark.parametrize("fields", [True, False])
def test_texts_from_outside_are_no_markup_and_no_escape_sequences(draw: Draw, fields: bool) -> None:
    row = {"remark": "[red]:boom:[/red]\x1b[31m\u202e", "at": NOON, "yes": True}
    shown = "\n".join(draw(row, width=100, fields=fields))
    assert "[red]:boom:[/red]\\x1b[31m\\u202e" in shown
    assert "\x1b" not in shown
    assert "2016-01-31 04:00:30Z" in shown


@pytest.mark.parametrize("order", [HEX, "订单" * 8, "a-b,c_d" * 4])
def test_an_id_of_32_characters_is_never_broken_at_80_columns(draw: Draw, order: str) -> None:
    row = {
        "id": 12345678,
        "order": order,
        "state": "unresolved",
        "attention": "rejected_by_platform",
        "amount": "(12345.50)",
    }
    lines = draw(row, {**row, "order": "1"}, ids=("order",))
    assert sum(order in line for line in lines) == 1
    assert max(map(cell_len, lines)) <= 80


@pytest.mark.parametrize("order", [HEX + "x", LONG, "订" * 32, "订" * 64])
def test_a_longer_id_has_a_line_of_its_own(draw: Draw, order: str) -> None:
    lines = draw(
        {"id": 1, "order": order, "state": "pending"}, {"id": 2, "order": "1", "state": "failed"}, ids=["order"]
    )
    assert lines.count(order) == 1
    assert lines[lines.index(order) + 1].split() == ["1", "pending"]


@pytest.mark.parametrize("value", [HEX, LONG, "订" * 64])
def test_an_id_among_fields_is_never_broken(draw: Draw, value: str) -> None:
    lines = draw({"check_requested_at": NOON, "request_id": value}, fields=True)
    assert sum(value in line for line in lines) == 1


def test_long_texts_stand_below_their_row_where_the_terminal_is_too_narrow(draw: Draw) -> None:
    row = {"at": NOON, "kind": "settled", "said": f'{{"requestId":"{HEX}","customParm":"{HEX}","trafficSts":"1"}}'}
    narrow = draw(row, long_texts=("said",))
    assert max(map(len, narrow)) <= 80
    assert "said" not in narrow[0]
    assert sum(line.count(HEX) for line in narrow) == 2
    wide = draw(row, long_texts=("said",), width=200)
    assert "said" in wide[0]
    assert any(line.startswith("2016-01-31") and line.endswith('"1"}') for line in wide)


def test_a_word_that_is_no_id_is_folded_not_cut(draw: Draw) -> None:
    lines = draw({"remark": "0123456789" * 6, "state": "pending"}, width=40)
    assert max(map(len, lines)) <= 40
    digits = "".join(character for line in lines for character in line if character.isdigit())
    assert digits == "0123456789" * 6


def test_a_terminal_that_is_narrower_than_an_id_still_shows_it_whole(draw: Draw) -> None:
    lines = draw({"order": HEX, "state": "pending"}, width=20, ids=("order",))
    assert "".join(line.split()[0] for line in lines[2:] if line).startswith(HEX[:10])


def test_without_a_terminal_lines_are_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(console(), ("remark",), [{"remark": "x" * 200}])
    assert "x" * 200 in capsys.readouterr().out


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Mn", "Me", "Cf"])), st.integers(2, 40))
def test_a_wrapped_text_loses_nothing_but_white_space(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize("fields", [True, False])
def test_columns_stay_aligned_in_chinese(draw: Draw, monkeypatch: pytest.MonkeyPatch, fields: bool) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    rows: list[dict[str, Any]] = [
        {"account": "北京", "state": OrderState.PENDING},
        {"account": "b", "state": OrderState.FAILED},
    ]
    lines = Context().run(draw, *rows, fields=fields)
    starts = ("北京", "处理中") if fields else ("状态", "处理中", "失败")
    columns = {cell_len(line[: line.index(said)]) for line in lines for said in starts if said in line}
    assert len(columns) == 1
    assert lines[0].startswith("接口账号  ")


@pytest.mark.parametrize("width", [12, 20, 31])
def test_chinese_is_wrapped_between_characters_and_before_no_mark(width: int) -> None:
    whole = "平台在最近一小时内提示，查询过于频繁；请执行 `reconciler queries`。"
    lines = wrapped(whole, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).replace(" ", "") == whole.replace(" ", "")
    assert not {line[0] for line in lines} & set("，；。")
