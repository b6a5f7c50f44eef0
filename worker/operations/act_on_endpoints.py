"""What operators do to endpoints: pause and resume them, and forget one with all that nobody has received."""

from collections.abc import Callable

import structlog

from worker.database.transactions import Database, retry_contention
from worker.domain.notifications.resting_endpoints import pause_endpoint, resume_endpoint
from worker.domain.records.acts import Act, ActEntry, ActKind
from worker.domain.records.notifications import Endpoint
from worker.operations.act_by_hand import Operator
from worker.stores.notifications import (
    delete_endpoint,
    delete_notifications,
    lock_endpoint,
    next_unreceived,
    save_endpoint,
)
from worker.stores.recorded_acts import add_acts

log = structlog.stdlib.get_logger(__name__)

_AT_ONCE = 1_000


def pause_notifications(database: Database, operator: Operator, account: str) -> Endpoint | None:
    """Send an account nothing until it is resumed; what happens meanwhile waits. Returns its endpoint as it was, None
    where it has none."""
    return _change(database, operator, ActKind.PAUSE_NOTIFICATIONS, account, pause_endpoint)


def resume_notifications(database: Database, operator: Operator, account: str) -> Endpoint | None:
    """Send to an account at once, whether it was paused, rests, or was stopped by an answer 410. Returns as above."""
    return _change(database, operator, ActKind.RESUME_NOTIFICATIONS, account, lambda before, _: resume_endpoint(before))


def forget_endpoint(database: Database, operator: Operator, account: str) -> tuple[bool, int]:
    """Remove an account's endpoint, then its notifications that are pending or given up, 1,000 in a transaction.

    Returns whether there was one, and how many notifications were removed. What an interrupted one has left, or a
    transaction that read the endpoint before has added, is removed by the next, an act of its own. A worker that has it
    in its settings enters it again at its next start.
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
        add_acts(connection, [_entry(act, kind, account, before)])
    _log(operator, kind, account)
    return before


@retry_contention
def _remove(database: Database, operator: Operator, account: str) -> bool:
    with database.write() as connection:
        before = lock_endpoint(connection, account)
        if before is None and not next_unreceived(connection, account, 1):
            return False
        delete_endpoint(connection, account)
        act = operator.act(database.now(connection))
        add_acts(connection, [_entry(act, ActKind.FORGET_NOTIFICATIONS, account, before)])
    _log(operator, ActKind.FORGET_NOTIFICATIONS, account)
    return before is not None


@retry_contention
def _remove_unreceived(database: Database, account: str) -> int:
    with database.write() as connection:
        return delete_notifications(connection, next_unreceived(connection, account, _AT_ONCE))


def _entry(act: Act, kind: ActKind, account: str, endpoint: Endpoint | None) -> ActEntry:
    shown = None if endpoint is None else endpoint.shown
    return ActEntry(at=act.now, actor=act.actor, act=kind, account=account, reason=act.reason, detail=shown)


def _log(operator: Operator, kind: ActKind, account: str) -> None:
    log.info(
        "an operator acted",
        action="operator_act",
        act=kind.value,
        actor=operator.name,
        reason=operator.reason,
        account=account,
    )
