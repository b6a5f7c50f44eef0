"""The examples of docs/finance.md, in both languages, print what stands below them."""

import re
import shlex
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

import worker
from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import callback
from worker.database.tables import ORDERS
from worker.domain.records.orders import OrderState, Source

DOCS = Path(worker.__file__).parents[1] / "docs"
NOON = datetime(2016, 1, 31, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(number: int) -> str:
    return f"2016010000000{number}"


def fill(bench: Workbench) -> None:
    """The orders of the page: 218 of the day before, 219 to 224 of its day."""
    known = {"mobile": "18812340804", "expected_amount": "2.94"}
    bench.enqueue(*({"request_id": name(number), **known} for number in range(218, 225)))
    bench.intake.record_callbacks([callback(name(number)) for number in (218, 219)])
    bench.reconcile([item(name(220)), item(name(221), amount="3.10")])
    bench.intake.record_callbacks([callback(name(221), amount="3.10")])
    settled = {
        218: (NOON - timedelta(days=1), 75),
        219: (NOON, 62),
        220: (NOON + timedelta(hours=1), 671),
        221: (NOON + timedelta(hours=2), 742),
        222: (NOON + timedelta(hours=3), 9000),
    }
    by_hand = {"state": OrderState.SUCCEEDED, "settled_by": Source.OPERATOR, "ori_amount": Decimal("2.94")}
    bench.run(update(ORDERS).values(submitted_at=NOON))
    bench.run(update(ORDERS).where(ORDERS.c.request_id == name(223)).values(state=OrderState.UNRESOLVED))
    for number, (at, seconds) in settled.items():
        times = {"settled_at": at, "submitted_at": at - timedelta(seconds=seconds)}
        changes = {**times, **(by_hand if number == 222 else {})}
        bench.run(update(ORDERS).where(ORDERS.c.request_id == name(number)).values(changes))


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("page", "spoken"), [("finance.md", "en"), ("zh-CN/finance.md", "zh")])
def test_the_examples_print_what_the_page_says(bench: Workbench, cli: CommandLine, page: str, spoken: str) -> None:
    fill(bench)
    there = CommandLine({**cli.settings, "RECONCILER_LANGUAGE": spoken})
    blocks = FENCED.findall((DOCS / page).read_text("utf-8"))
    (statement,) = (text for language, text in blocks if language == "csv")
    Path("statement.csv").write_text(statement, "utf-8")
    examples = [
        (command, shown)
        for (language, command), (following, shown) in pairwise(blocks)
        if (language, following) == ("sh", "text")
    ]
    assert len(examples) == 3
    for command, shown in examples:
        program, *arguments = shlex.split(command)
        assert program == "reconciler"
        assert there.run(*arguments, width=120).stdout.rstrip() == shown.rstrip(), command
