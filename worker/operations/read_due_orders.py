"""Reads of due orders without a lock: the choice of the next query, and accounts with nothing due."""

from collections.abc import Collection
from datetime import datetime

from worker.database.transactions import Connection, Database
from worker.domain.accounts.back_off import waits
from worker.domain.queries.choose_batch import (
    INDEX_RANGES,
    choose,
    fill,
    first_pages,
    free_positions,
    next_pages,
    spare_pages,
)
from worker.domain.records.accounts import AccountState
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Choice
from worker.domain.scheduling.poll_schedule import PollSchedule
from worker.stores.pending_orders import read_candidates, read_dueness


def choose_due(
    connection: Connection, state: AccountState, schedule: PollSchedule, now: datetime, rules: Rules
) -> Choice | None:
    """Read what is due and choose what the account's next slot is spent on; None where nothing is due.

    The first page of each index range is read, and a choice made. Where a batch exhausts pages, the next page of those
    ranges is read, and the choice is made again. Where due orders leave positions of a batch free, orders that are not
    due are read for these.
    """
    found = read_candidates(connection, state.account, now, first_pages(state, now, rules))
    choice = choose(found, state, schedule, now, rules)
    if choice is not None and choice.exhausted:
        more = read_candidates(connection, state.account, now, next_pages(choice.exhausted, rules))
        choice = choose([*found, *more], state, schedule, now, rules)
    if choice is None or not (free := free_positions(choice, state, rules)):
        return choice
    spare = read_candidates(connection, state.account, now, spare_pages(choice.id_kind))
    return fill(choice, spare, free, schedule, now, rules)


def read_resting(database: Database, accounts: Collection[str]) -> set[str]:
    """Those of these accounts that have nothing due, back off or are paused, as a read without a lock shows.

    A hint that saves work: an account without a due order has an open slot all the time, and each try to take it is a
    transaction with locks. A thousand such accounts, once a second each, would keep a machine busy for nothing. So one
    statement reads all of them. An account without a row of its own is not among them.
    """
    if not accounts:
        return set()
    with database.read() as connection:
        now = database.now(connection)
        known = read_dueness(connection, accounts, now, INDEX_RANGES)
    return {state.account for state, has_due in known if not has_due or waits(state, now)}
