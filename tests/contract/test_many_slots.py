"""Slots of accounts that a worker does not have, beside its own."""

from typing import Any

import pytest
import sqlalchemy

from tests.support.reconciling import Workbench
from worker.database.tables import BUDGETS


@pytest.mark.databases("postgresql", "mariadb")
def test_a_tick_reads_the_slots_of_its_own_accounts_only(bench: Workbench) -> None:
    """SQLite's driver does not count the rows of an answer."""
    (own,) = bench.rows(BUDGETS)
    del own["id"]
    bench.run(BUDGETS.insert(), *({**own, "account_sid": f"{number:032}"} for number in range(3_000)))
    read: list[int] = []

    def count(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if "FROM query_budgets" in statement:
            read.append(cursor.rowcount)

    sqlalchemy.event.listen(bench.database.engine, "after_cursor_execute", count)
    assert bench.open_slots() == [bench.slot]
    assert read == [1]
