"""Learn when orders settle: add observations, learn from those of one account at a time, and compute the poll schedule
of that account."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import structlog

from worker.adapters.clock import Throttle
from worker.database.transactions import Connection, Database, retry_contention
from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import Observations, ages_of
from worker.domain.scheduling.learning import RELEARN_WINDOWS, Learned, is_relearning_due
from worker.domain.scheduling.poll_schedule import PollSchedule, prior_schedule, schedule_of
from worker.domain.scheduling.stored_json import (
    learned_text,
    observations_text,
    read_learned,
    read_observations,
    read_schedule_text,
    schedule_text,
)
from worker.stores.accounts import (
    add_observation_texts,
    drop_observations,
    first_with_observations,
    lock_learned,
    read_computed_at,
    read_oldest_observations,
    read_schedule_row,
    save_learned,
)
from worker.stores.pending_orders import is_any_polled_alone, read_pending_count

log = structlog.stdlib.get_logger(__name__)

MOST_OBSERVATIONS = 3000
"""The most rows of observations from which one transaction learns. If there are more rows, the next tick continues with
them."""

_MOST_KEPT = 1024

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, Rules], tuple[datetime, PollSchedule]] = OrderedDict()


def add_observations(
    connection: Connection, observations: Mapping[str, Observations], now: datetime, rules: Rules
) -> None:
    """Write the observations that a transaction made, given by account, in one insert. Insert nothing if there are no
    observations."""
    texts = {account: observations_text(observed, rules) for account, observed in observations.items() if observed}
    add_observation_texts(connection, texts, now)


def read_schedule(connection: Connection, account: str, rules: Rules) -> PollSchedule:
    """Return the schedule by which an account's orders are chosen now: the stored schedule, or the prior schedule if
    none is stored yet.

    Schedules are cached in this process, because parsing a stored one of 70 KB takes a while.
    """
    computed_at = read_computed_at(connection, [account]).get(account)
    if computed_at is None:
        return prior_schedule(rules)
    with _lock:
        kept = _kept.get((account, rules))
        if kept is not None:
            _kept.move_to_end((account, rules))
    if kept is not None and kept[0] == computed_at:
        return kept[1]
    # Another process may have computed the schedule again since the time was read. So the time is read again, together
    # with the schedule.
    computed_at, text = read_schedule_row(connection, account)
    schedule = read_schedule_text(text, rules) or prior_schedule(rules)
    with _lock:
        _kept[account, rules] = (computed_at, schedule)
        _kept.move_to_end((account, rules))
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return schedule


def forget_schedules() -> None:
    """Empty the cache. Only tests need this: they empty a database, or set its clock back, so that another schedule may
    get the same time as a cached one."""
    with _lock:
        _kept.clear()


class Learning:
    """Keeps the schedules of accounts up to date; safe to share between threads and processes."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._rest = Throttle(rules.window_seconds)

    def relearn(self, accounts: Collection[str]) -> bool:
        """Learn from the observations of one of these accounts, and compute its schedule. The account is the one whose
        schedule was computed longest ago.

        Return whether an account was due and not locked by another process. If no account was due, the next calls do
        not read the database until a window has passed, so most ticks cost nothing. Each observation counts once, even
        after a crash, because it is deleted in the transaction that learns from it.
        """
        if not self._rest.is_open():
            return False
        account = _longest_ago(self._database, self._rules, sorted(accounts))
        if account is None:
            self._rest.close()
            return False
        return _relearn(self._database, self._rules, account)


@retry_contention
def _longest_ago(database: Database, rules: Rules, accounts: Sequence[str]) -> str | None:
    with database.read() as connection:
        now = database.now(connection)
        computed = read_computed_at(connection, accounts)
        never = [account for account in accounts if account not in computed]
        first = first_with_observations(connection, never)
    if first is not None:
        return first
    due = [account for account, computed_at in computed.items() if is_relearning_due(computed_at, now, rules)]
    return min(due, key=computed.__getitem__, default=None)


@retry_contention
def _relearn(database: Database, rules: Rules, account: str) -> bool:
    with database.write() as connection:
        row = lock_learned(connection, account)
        now = database.now(connection)
        if row is None or not is_relearning_due(row.computed_at, now, rules):
            return False
        ids, texts, are_all = read_oldest_observations(connection, account, MOST_OBSERVATIONS)
        learned: Mapping[str, str] = {}
        if texts:
            learned = _learn(account, row.learned, texts, now, rules, _fits_one_batch(connection, account, rules))
        # If the account has more observations, its schedule counts as old, so that it stays due and the next tick
        # continues with it.
        computed_at = now if are_all else now - rules.windows(RELEARN_WINDOWS)
        save_learned(connection, account, computed_at, learned)
        drop_observations(connection, ids)
        return True


def _fits_one_batch(connection: Connection, account: str, rules: Rules) -> bool:
    pending = read_pending_count(connection, account, rules.batch_size + 1)
    # If an order is polled alone, it needs slots that batches leave free. Then batches must not take every slot.
    return pending <= rules.batch_size and not is_any_polled_alone(connection, account)


def _learn(
    account: str, learned_so_far: str, texts: Sequence[str], now: datetime, rules: Rules, fits_one_batch: bool
) -> Mapping[str, str]:
    """Return the columns that learning changes. If learning fails, return none and do not raise, so that these
    observations do not stop the learning of other accounts."""
    try:
        observations = Observations()
        for text in texts:
            observations.add(read_observations(text, rules))
        if not observations:
            # None of these observations can be used: all were made for other age ranges than those of the present
            # rules.
            return {}
        learned = read_learned(learned_so_far, rules) or Learned(ages_of(rules))
        learned.fold(observations, now.timestamp(), rules)
        schedule = schedule_of(learned, now.timestamp(), rules, fits_one_batch=fits_one_batch)
        return {"learned": learned_text(learned, rules), "schedule": schedule_text(schedule, rules)}
    except (ArithmeticError, LookupError, TypeError, ValueError):
        log.exception(
            "nothing was learned of an account: its schedule stays", action="learning_failed", account=account
        )
        return {}
