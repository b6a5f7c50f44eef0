"""Data as it is printed: exact, complete, and without control characters or markup."""

import io
import json
from contextvars import copy_context
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.safe_text import first_line, one_line
from worker.cli.output import print_json, show_times_in, time_text

CHINA = timezone(timedelta(hours=8))
NOON = datetime(2016, 1, 31, 12, 0, 30, tzinfo=CHINA)


def printed_json(value: object, capsys: pytest.CaptureFixture[str]) -> str:
    print_json(value)
    return capsys.readouterr().out


def test_amounts_are_strings_and_times_have_an_offset(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed_json({"amount": Decimal("2.9400"), "at": NOON, "none": None}, capsys)
    assert json.loads(text) == {"amount": "2.94", "at": "2016-01-31T12:00:30+08:00", "none": None}


@given(value=st.dictionaries(st.text(), st.text()))
def test_json_means_what_was_put_in_and_holds_no_control_character(value: dict[str, str]) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        print_json(value)
    assert json.loads(out.getvalue()) == value
    assert not set(out.getvalue()) & {chr(code) for code in [*range(10), *range(11, 32), 127, 0x9B, 0x202E]}


def test_chinese_stays_readable_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert '"成功"' in printed_json({"remark": "成功"}, capsys)


def test_what_has_no_form_in_json_is_a_fault_of_ours() -> None:
    with pytest.raises(TypeError, match="set has no form"):
        print_json({1})


def test_a_message_is_one_line_without_secrets_whatever_it_quotes() -> None:
    assert one_line("a\n b\tc  d\x1b[0m") == "a b c d\\x1b[0m"
    assert one_line("see postgresql://app:geheim@db/x") == "see postgresql://app:***@db/x"
    assert len(one_line("x" * 1000)) == 500


def test_of_an_error_the_first_line_is_shown() -> None:
    assert first_line(ValueError("no connection\n  Is the server running?")) == "no connection"
    assert first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Asia/Shanghai", "2016-01-31 12:00:30+08"),
        ("UTC", "2016-01-31 04:00:30Z"),
        ("Asia/Kolkata", "2016-01-31 09:30:30+0530"),
        ("America/New_York", "2016-01-30 23:00:30-05"),
    ],
)
def test_a_time_is_shown_in_the_chosen_zone_with_its_offset(zone: str, text: str) -> None:
    def shown() -> str:
        show_times_in(ZoneInfo(zone))
        return time_text(NOON)

    assert copy_context().run(shown) == text
