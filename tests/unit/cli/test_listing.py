"""CSV as a spreadsheet reads it: its encoding is known, and no text becomes a formula."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import typer

from worker.cli.listing import Listing, Paged, write_csv
from worker.domain.records.orders import OrderState
from worker.domain.records.sentences import Sentence
from worker.views.page import Page


def written(value: object, capsysbinary: pytest.CaptureFixture[bytes]) -> str:
    write_csv(("value",), [{"value": value, "left out": 1}])
    text = capsysbinary.readouterr().out.decode("utf-8-sig")
    header, (cell,) = list(csv.reader(io.StringIO(text)))
    assert header == ["value"]
    return cell


def test_it_is_utf8_with_a_byte_order_mark(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_csv(("a", "b"), [{"a": "成功", "b": None}])
    assert capsysbinary.readouterr().out == b"\xef\xbb\xbfa,b\n\xe6\x88\x90\xe5\x8a\x9f,\n"


@pytest.mark.parametrize("text", ["=1+1", "+86 188", "-1", "@SUM(A1)", "＝1+1", "＋86", "－1", "＠SUM(A1)"])
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(
    text: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert written(text, capsysbinary) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (Decimal("-2.9400"), "-2.94"),
        (-1, "-1"),
        (OrderState.FAILED, "failed"),
        (datetime(2016, 1, 31, 12, tzinfo=UTC), "2016-01-31 12:00:00Z"),
        ('a,"b"', 'a,"b"'),
        ("a=b", "a=b"),
        ("a\nb", "a\\nb"),
        (True, "yes"),
    ],
)
def test_numbers_and_other_texts_stay_as_they_are(
    value: object, cell: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert written(value, capsysbinary) == cell


def test_many_rows_are_written_whole(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_csv(("n",), ({"n": number} for number in range(2500)))
    assert capsysbinary.readouterr().out.decode("utf-8-sig").split() == ["n", *map(str, range(2500))]


@pytest.mark.parametrize("form", [{}, {"as_json": True}, {"as_csv": True, "limit": 5}])
def test_a_list_that_was_searched_in_part_says_so(form: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    listing = Listing(rows="orders submitted", none=Sentence("No such orders."), csv=("id",), columns=("id",))
    with pytest.raises(typer.Exit) as ended:
        Paged(**form).show(listing, Page(rows=[], searched=2_000))
    assert ended.value.exit_code == 3
    shown = capsys.readouterr()
    assert bool(shown.out) is bool(form)
    assert (
        shown.err
        == "The search took too long and covers at most the newest 2,000 rows: narrow it with another option. "
        "--csv without --limit reads to the end.\n"
    )
