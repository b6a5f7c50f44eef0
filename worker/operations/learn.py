"""Learning from the notes, and pricing anew: an account at a time, now and then, by whichever process comes first."""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from worker.database.bulk_statements import held_of, one_of
from worker.database.engine import Database
from worker.domain.pricing.ages import ages_of
from worker.domain.pricing.learning import REPRICE_WINDOWS, Learned, Notes
from worker.domain.pricing.prices import prices_of
from worker.domain.rules import Rules
from worker.stores.learning_json import learned_text, prices_text, read_learned, read_notes
from worker.stores.poll_schedules import PRICES
from worker.stores.recharge_orders import ORDERS, PENDING
from worker.stores.settlement_observations import NOTES

log = structlog.stdlib.get_logger(__name__)

MOST_NOTES = 3000
"""How many notes one transaction learns from. Where there are more, the next tick goes on, and then prices."""

# Older than any time that matters.
_NEVER = datetime(1970, 1, 2, tzinfo=UTC)


class Learning:
    """Keeps the prices of accounts up to date; safe to share between threads and processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._next_look = 0.0

    def reprice(self, accounts: Collection[str]) -> bool:
        """Learn what was noted of one of these accounts, and price its looks: of that which was priced longest ago.

        Returns whether there was one to price, which nobody else was busy with. Where there was none, the next window
        is waited for before the database is asked again: most ticks cost nothing. Each note is counted once, whoever
        dies when: it goes in the transaction that learns from it.
        """
        if time.monotonic() < self._next_look:
            return False
        account = self._database.retrying(lambda: self._longest_ago(sorted(accounts)))
        if account is None:
            self._next_look = time.monotonic() + self._rules.window_seconds
            return False
        return self._database.retrying(lambda: self._reprice(account))

    def _longest_ago(self, accounts: Sequence[str]) -> str | None:
        with self._database.read() as connection:
            now = self._database.now(connection)
            ours = select(PRICES.c.account, PRICES.c.priced_at).where(one_of(connection, PRICES.c.account, accounts))
            priced = {row.account: row.priced_at for row in connection.execute(ours)}
            never = [account for account in accounts if account not in priced]
            first = connection.scalar(held_of(connection, NOTES.c.account, never).limit(1)) if never else None
        if first is not None:
            return str(first)
        due = [account for account, priced_at in priced.items() if self._is_due(priced_at, now)]
        return min(due, key=priced.__getitem__, default=None)

    def _reprice(self, account: str) -> bool:
        with self._database.write() as connection:
            row = _lock(connection, account)
            now = self._database.now(connection)
            if row is None or not self._is_due(row.priced_at, now):
                return False
            texts, ids, are_all = self._read_notes(connection, account)
            # An account whose notes are not all read stays due: the next tick goes on with it.
            values: dict[str, object] = {"priced_at": now if are_all else now - self._rules.windows(REPRICE_WINDOWS)}
            if texts:
                pending = _count_pending(connection, account, self._rules.batch_size + 1)
                values |= self._learn(account, row.learned, texts, pending, now)
            connection.execute(update(PRICES).where(PRICES.c.account == account).values(values))
            if ids:
                connection.execute(delete(NOTES).where(one_of(connection, NOTES.c.id, ids)))
            return True

    def _learn(
        self, account: str, learned_so_far: str, texts: Sequence[str], pending: int, now: datetime
    ) -> dict[str, object]:
        """The columns that learning changes; none where it fails, so that these notes stop no other account."""
        try:
            notes = Notes()
            for text in texts:
                notes.add(read_notes(text, self._rules))
            if not notes:
                # They were made for other ages.
                return {}
            learned = read_learned(learned_so_far, self._rules) or Learned(ages_of(self._rules))
            learned.fold(notes, now.timestamp(), self._rules)
            prices = prices_of(learned, now.timestamp(), self._rules, pending=pending)
            return {"learned": learned_text(learned, self._rules), "prices": prices_text(prices, self._rules)}
        except (ArithmeticError, LookupError, TypeError, ValueError):
            log.exception(
                "nothing was learned of an account: its prices stay", action="pricing_failed", account=account
            )
            return {}

    def _is_due(self, priced_at: datetime, now: datetime) -> bool:
        # A time ahead is the mark of a clock that was set back since.
        return not now - self._rules.windows(REPRICE_WINDOWS) < priced_at <= now

    def _read_notes(self, connection: Connection, account: str) -> tuple[list[str], list[int], bool]:
        """The oldest notes, their ids, and whether there are no more."""
        oldest = select(NOTES.c.id, NOTES.c.notes).where(NOTES.c.account == account).order_by(NOTES.c.id)
        rows = connection.execute(oldest.limit(MOST_NOTES + 1)).all()
        oldest_rows = rows[:MOST_NOTES]
        return [text for _, text in oldest_rows], [note_id for note_id, _ in oldest_rows], len(rows) <= MOST_NOTES


def _count_pending(connection: Connection, account: str, most: int) -> int:
    """How many of the account's orders are pending; `most` where there are more."""
    pending = select(ORDERS.c.id).where(ORDERS.c.account == account, ORDERS.c.state == PENDING).limit(most)
    return connection.scalar(select(func.count()).select_from(pending.subquery())) or 0


def _lock(connection: Connection, account: str) -> Row[Any, Any] | None:
    """The account's row, locked; None where somebody else has it. A row that is missing is begun."""
    statement = select(PRICES.c.learned, PRICES.c.priced_at).where(PRICES.c.account == account)
    locking = statement.with_for_update(skip_locked=True)
    row = connection.execute(locking).one_or_none()
    if row is None and connection.execute(statement).one_or_none() is None:
        connection.execute(insert(PRICES).values(account=account, learned="{}", prices="{}", priced_at=_NEVER))
        row = connection.execute(locking).one_or_none()
    return row
