"""Variants of the product that break one law each. A checker that finds none of them would prove nothing."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, text

from tests.histories.hosts import Kinds
from worker.database.column_types import UtcDateTime
from worker.database.transactions import Database
from worker.domain.queries.after_reply import QueryEffects
from worker.domain.records.accounts import SlotKey
from worker.domain.records.incoming import Answer
from worker.domain.records.queries import Query
from worker.operations.reserve_slot import Grants
from worker.operations.write_back import WriteBack
from worker.process.intake import Intake


def run_statement(database: Database, statement: str, **values: Any) -> None:
    """Run a statement in a transaction of its own."""
    with database.write() as connection:
        # Times by our own column type: the driver's way to write them is deprecated from Python 3.12 on.
        times = [bindparam(name, type_=UtcDateTime()) for name, value in values.items() if isinstance(value, datetime)]
        connection.execute(text(statement).bindparams(*times), values)


class _WithoutGuard(WriteBack):
    """Writes an answer to any row of that name, whatever changed it meanwhile."""

    def answered(self, query: Query, answer: Answer) -> QueryEffects:
        effects = super().answered(query, answer)
        for reports in answer.said.values():
            state = {"1": "succeeded", "-1": "failed"}.get(reports[0].traffic_sts or "")
            if state is not None:
                run_statement(
                    self._database,
                    "UPDATE recharge_orders SET state = :state, settled_by = 'query', settled_at = updated_at"
                    " WHERE account = :account AND request_id = :name",
                    state=state,
                    account=query.account,
                    name=reports[0].request_id,
                )
        return effects


class _WithoutSlot(Grants):
    """Takes a slot whatever its row holds."""

    def take(self, slot: SlotKey) -> Query | None:
        run_statement(self._database, "UPDATE query_budgets SET boot_due_us = 0, wait_us = 0, due_at = updated_at")
        return super().take(slot)


class _ByTheDatabasesClock(Grants):
    """Uses the database's clock alone, which can be set."""

    def take(self, slot: SlotKey) -> Query | None:
        run_statement(self._database, "UPDATE query_budgets SET boot_id = 'of nobody'")
        return super().take(slot)


class _ByItsOwnWindow(Grants):
    """Sets the window of a row to its own, whatever it was written with."""

    def take(self, slot: SlotKey) -> Query | None:
        own = round(self._rules.window_seconds * 1_000_000)
        run_statement(self._database, "UPDATE query_budgets SET window_us = :own", own=own)
        return super().take(slot)


class _LeasesForMonths(Grants):
    """Leases orders for longer than any query lasts."""

    def take(self, slot: SlotKey) -> Query | None:
        query = super().take(slot)
        if query is not None:
            run_statement(
                self._database,
                "UPDATE recharge_orders SET due_at = :until WHERE lease_token = :token",
                until=query.sent_at + timedelta(days=90),
                token=query.token,
            )
        return query


class _DropsTheLast(Intake):
    """Answers that it accepted a whole list, and drops the last order."""

    def enqueue_orders(self, orders: Any, **where: Any) -> dict[str, object]:
        kept = orders[:-1] if len(orders) > 1 and "custom_parm" in orders[-1] else orders
        return super().enqueue_orders(kept, **where)


BROKEN = {
    "a write-back without its guard": (Kinds(write_back=_WithoutGuard), "S[25]"),
    "a grant that ignores its slot": (Kinds(grants=_WithoutSlot), "S1"),
    "a grant by the database's clock alone": (Kinds(grants=_ByTheDatabasesClock), "S1"),
    "a grant by its own window": (Kinds(grants=_ByItsOwnWindow, window_grows_at_once=True), "S1"),
    "a lease that outlasts the query": (Kinds(grants=_LeasesForMonths), "L1"),
    "an intake that forgets": (Kinds(intake=_DropsTheLast), "S3"),
}
"""By name: the parts, and the law that they break."""
