"""Change the table `notify_endpoints`: a worker enters its endpoints, and from then on the accounts of these endpoints
are notified.

Operators pause and resume endpoints. They also forget an endpoint, together with all of its notifications that were not
received.
"""

import mmap
from collections.abc import Callable, Collection

import structlog

from worker.database.transactions import Database, retry_contention
from worker.domain.notifications.resting_endpoints import enter, is_another_target, pause_endpoint, resume_endpoint
from worker.domain.records.notifications import Endpoint, EndpointSettings
from worker.domain.records.operators import Act, ActKind
from worker.operations.act_by_hand import Operator
from worker.stores.notifications import (
    add_endpoint,
    begin_again,
    delete_endpoint,
    delete_notifications,
    lock_endpoint,
    next_delayed,
    next_unreceived,
    read_endpoints,
    save_endpoint,
)
from worker.stores.operators import add_acts

log = structlog.stdlib.get_logger(__name__)

_AT_ONCE = 1_000


def enter_endpoints(database: Database, given: Collection[EndpointSettings]) -> None:
    """Enter the endpoints among these that are new or changed. Endpoints of other workers, and endpoints that no worker
    has any more, do not change.

    Raise the error of a transaction that lost too many races, or whose database is away. Endpoints that were entered
    before the error stay entered.
    """
    with database.read() as connection:
        known = read_endpoints(connection, [one.account for one in given]) if given else {}
    for one in given:
        before = known.get(one.account)
        if enter(before, one) == before:
            continue
        if is_another_target(before, one):
            # This is done before the new target is entered. If the worker dies between the two steps, it does both at
            # its next start.
            _begin_again(database, one.account)
        entered = _enter(database, one)
        log.info("notifications go to this endpoint", action="endpoint_entered", account=one.account, to=entered.shown)


class EndpointEntry:
    """Enters a worker's endpoints once, in the first of its processes that reaches the database.

    Make this object before the pool forks. The pool's processes, and the processes that replace them later, share one
    flag that says whether the endpoints were entered. Without the flag, a process that starts later would enter the
    endpoints again. It would undo what a newer worker has entered, or what an operator has forgotten, in the meantime.
    """

    def __init__(self) -> None:
        # The flag is one byte of memory that all processes share which are forked after this line.
        self._is_done = mmap.mmap(-1, 1)

    def enter_once(self, database: Database, given: Collection[EndpointSettings]) -> None:
        """Enter the endpoints, unless a process has already done so. If `enter_endpoints` raises an error, raise it;
        the next call then tries again."""
        if not self._is_done[0]:
            enter_endpoints(database, given)
            self._is_done[0] = 1


@retry_contention
def _enter(database: Database, given: EndpointSettings) -> Endpoint:
    with database.write() as connection:
        now = database.now(connection)
        known = lock_endpoint(connection, given.account)
        entered = enter(known, given)
        (add_endpoint if known is None else save_endpoint)(connection, entered, now)
        return entered


def _begin_again(database: Database, account: str) -> None:
    """Reset the failures of an account's pending notifications, so that all of them are sent to the new target now."""
    last: int | None = 0
    while last is not None:
        last = _begin_some_again(database, account, last)


@retry_contention
def _begin_some_again(database: Database, account: str, after: int) -> int | None:
    with database.write() as connection:
        delayed = next_delayed(connection, account, after, _AT_ONCE)
        begin_again(connection, delayed, database.now(connection))
    return delayed[-1] if len(delayed) == _AT_ONCE else None


def pause_notifications(database: Database, operator: Operator, account: str) -> Endpoint | None:
    """Send nothing to an account until somebody resumes it. New notifications wait. Return the endpoint as it was
    before; None if the account has no endpoint."""
    return _change(database, operator, ActKind.PAUSE_NOTIFICATIONS, account, pause_endpoint)


def resume_notifications(database: Database, operator: Operator, account: str) -> Endpoint | None:
    """Send to an account again at once, even if its endpoint was paused, rests, or was stopped by an answer 410.

    Return the endpoint as it was before; None if the account has no endpoint.
    """
    return _change(database, operator, ActKind.RESUME_NOTIFICATIONS, account, lambda before, _: resume_endpoint(before))


def forget_endpoint(database: Database, operator: Operator, account: str) -> tuple[bool, int]:
    """Remove an account's endpoint. Then remove the account's notifications that are pending or were given up, 1,000 in
    a transaction.

    Return whether there was an endpoint, and how many notifications were removed. If a call is interrupted, or another
    transaction adds a notification meanwhile, the next call removes the rest. The record shows that call as another
    act. A worker that has the endpoint in its settings enters it again at its next start.
    """
    was_there = _remove(database, operator, account)
    removed, last = 0, 1
    while last:
        last = _remove_unreceived(database, account)
        removed += last
    return was_there, removed


@retry_contention
def _change(
    database: Database, operator: Operator, kind: ActKind, account: str, decide: Callable[[Endpoint, Act], Endpoint]
) -> Endpoint | None:
    with database.write() as connection:
        before = lock_endpoint(connection, account)
        if before is None:
            return None
        act = operator.act(database.now(connection))
        save_endpoint(connection, decide(before, act), act.now)
        add_acts(connection, [act.entry(kind, account, before.shown)])
    operator.log(kind, account=account)
    return before


@retry_contention
def _remove(database: Database, operator: Operator, account: str) -> bool:
    with database.write() as connection:
        before = lock_endpoint(connection, account)
        if before is None and not next_unreceived(connection, account, 1):
            return False
        delete_endpoint(connection, account)
        act = operator.act(database.now(connection))
        shown = None if before is None else before.shown
        add_acts(connection, [act.entry(ActKind.FORGET_NOTIFICATIONS, account, shown)])
    operator.log(ActKind.FORGET_NOTIFICATIONS, account=account)
    return before is not None


@retry_contention
def _remove_unreceived(database: Database, account: str) -> int:
    with database.write() as connection:
        return delete_notifications(connection, next_unreceived(connection, account, _AT_ONCE))
