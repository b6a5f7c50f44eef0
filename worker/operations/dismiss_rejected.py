"""Dismissing refused input, which an operator has dealt with: its rows stay, and are no longer open."""

from collections.abc import Sequence

from worker.database.transactions import Database, retry_contention
from worker.domain.records.coded_texts import TextCode
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import MOST_AT_ONCE, LongAct, Operator
from worker.stores.rejected_and_unmatched import close_refused


def dismiss_rejected(database: Database, operator: Operator, ids: Sequence[int], which: str) -> int:
    """Dismiss these rows, 1,000 in a transaction; returns how many of them were open. The record calls them `which`."""
    act = LongAct(operator, ActKind.DISMISS_REJECTED, TextCode.DONE_WITH, which=which)
    done = sum(_dismiss(database, act, ids[start : start + MOST_AT_ONCE]) for start in range(0, len(ids), MOST_AT_ONCE))
    act.log_end()
    return done


@retry_contention
def _dismiss(database: Database, act: LongAct, ids: Sequence[int]) -> int:
    with act.part(database) as (connection, done):
        done["rejected_orders"] = close_refused(connection, ids)
    return done["rejected_orders"]
