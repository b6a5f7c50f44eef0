"""Learning when orders settle: notes are added, learned from an account at a time, and turned into prices of looks."""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import structlog

from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.records.parameters import Rules
from worker.domain.scheduling.ages import ages_of
from worker.domain.scheduling.learning import RELEARN_WINDOWS, Learned, Observations, is_relearning_due
from worker.domain.scheduling.poll_schedule import PollSchedule, is_at_most_a_batch, prior_schedule, schedule_of
from worker.domain.scheduling.stored_json import (
    learned_text,
    observations_text,
    read_learned,
    read_observations,
    read_schedule_text,
    schedule_text,
)
from worker.stores import poll_schedules
from worker.stores.pending_orders import count_pending, is_any_polled_alone

log = structlog.stdlib.get_logger(__name__)

MOST_OBSERVATIONS = 3000
"""How many notes one transaction learns from. Where there are more, the next tick goes on, and then prices."""

_MOST_KEPT = 1024

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, Rules], tuple[datetime, PollSchedule]] = OrderedDict()


def add_observations(
    connection: Connection, observations: Mapping[str, Observations], now: datetime, rules: Rules
) -> None:
    """Write what a transaction noted, by account: one insert, none where nothing was noted."""
    texts = {account: observations_text(observed, rules) for account, observed in observations.items() if observed}
    poll_schedules.add_observation_texts(connection, texts, now)


def read_schedule(connection: Connection, account: str, rules: Rules) -> PollSchedule:
    """The prices by which an account's orders are chosen now: those stored last, the same for everybody before.

    To read a text of 70 KB takes a while: this process keeps what it has read.
    """
    computed_at = poll_schedules.read_account_computed_at(connection, account)
    if computed_at is None:
        return prior_schedule(rules)
    with _lock:
        kept = _kept.get((account, rules))
        if kept is not None:
            _kept.move_to_end((account, rules))
    if kept is not None and kept[0] == computed_at:
        return kept[1]
    # Others may have priced again since: what is kept is kept with its own time.
    computed_at, text = poll_schedules.read_schedule_text(connection, account)
    schedule = read_schedule_text(text, rules) or prior_schedule(rules)
    with _lock:
        _kept[account, rules] = (computed_at, schedule)
        _kept.move_to_end((account, rules))
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return schedule


def forget_schedules() -> None:
    """Forget what was read: for who empties a database, or sets its clock, so that the same time comes again."""
    with _lock:
        _kept.clear()


class Learning:
    """Keeps the prices of accounts up to date; safe to share between threads and processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._next_read = 0.0

    def relearn(self, accounts: Collection[str]) -> bool:
        """Learn what was noted of one of these accounts, and price its looks: of that which was priced longest ago.

        Returns whether there was one to price, which nobody else was busy with. Where there was none, the next window
        is waited for before the database is asked again: most ticks cost nothing. Each note is counted once, whoever
        dies when: it goes in the transaction that learns from it.
        """
        if time.monotonic() < self._next_read:
            return False
        account = _longest_ago(self._database, self._rules, sorted(accounts))
        if account is None:
            self._next_read = time.monotonic() + self._rules.window_seconds
            return False
        return _relearn(self._database, self._rules, account)


@retry_contention
def _longest_ago(database: Database, rules: Rules, accounts: Sequence[str]) -> str | None:
    with database.read() as connection:
        now = database.now(connection)
        computed = poll_schedules.read_computed_at(connection, accounts)
        never = [account for account in accounts if account not in computed]
        first = poll_schedules.first_with_observations(connection, never)
    if first is not None:
        return first
    due = [account for account, computed_at in computed.items() if is_relearning_due(computed_at, now, rules)]
    return min(due, key=computed.__getitem__, default=None)


@retry_contention
def _relearn(database: Database, rules: Rules, account: str) -> bool:
    with database.write() as connection:
        row = poll_schedules.lock_learned(connection, account)
        now = database.now(connection)
        if row is None or not is_relearning_due(row.computed_at, now, rules):
            return False
        ids, texts, are_all = poll_schedules.read_oldest_observations(connection, account, MOST_OBSERVATIONS)
        learned: Mapping[str, str] = {}
        if texts:
            learned = _learn(account, row.learned, texts, now, rules, _fits_one_batch(connection, account, rules))
        # An account whose notes are not all read stays due: the next tick goes on with it.
        computed_at = now if are_all else now - rules.windows(RELEARN_WINDOWS)
        poll_schedules.save_learned(connection, account, computed_at, learned)
        poll_schedules.drop_observations(connection, ids)
        return True


def _fits_one_batch(connection: Connection, account: str, rules: Rules) -> bool:
    pending = count_pending(connection, account, rules.batch_size + 1)
    # An order that is polled alone takes the slots that batches leave: they are not to come in every one.
    return is_at_most_a_batch(pending, rules) and not is_any_polled_alone(connection, account)


def _learn(
    account: str, learned_so_far: str, texts: Sequence[str], now: datetime, rules: Rules, fits_one_batch: bool
) -> Mapping[str, str]:
    """The columns that learning changes; none where it fails, so that these notes stop no other account."""
    try:
        observations = Observations()
        for text in texts:
            observations.add(read_observations(text, rules))
        if not observations:
            # They were made for other ages.
            return {}
        learned = read_learned(learned_so_far, rules) or Learned(ages_of(rules))
        learned.fold(observations, now.timestamp(), rules)
        schedule = schedule_of(learned, now.timestamp(), rules, fits_one_batch=fits_one_batch)
        return {"learned": learned_text(learned, rules), "schedule": schedule_text(schedule, rules)}
    except (ArithmeticError, LookupError, TypeError, ValueError):
        log.exception("nothing was learned of an account: its prices stay", action="learning_failed", account=account)
        return {}
