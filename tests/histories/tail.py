"""L1: after the faults stop, everything that is due must be polled within a bound."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import count

from tests.histories.checker import Checker, Row, rows_of
from tests.histories.hosts import Host
from tests.histories.platform import HONEST, Platform, slots_of
from tests.histories.world import World
from worker.domain.scheduling.poll_schedule import LONGEST_WAIT_WINDOWS

_LONGEST_BACK_OFF = 60
"""Windows: the most for which Retry-After counts."""


def bound_in_windows(checker: Checker, world: World, host: Host) -> float:
    """The most windows until every order that is pending now must be settled, or polled where it cannot settle.

    The longest back-off; then, for each order, a slot of its own (the worst case: a platform that answers one order a
    query, SIDs shared by two accounts, one single in ten slots); the waits between queries, of which a one-item
    platform may need four; and what the database's clock was set back, for by that clock the orders are not due yet.
    """
    window = host.rules.window_seconds
    # However low its priority, an order is due again by then.
    waits = 4 * LONGEST_WAIT_WINDOWS
    return _LONGEST_BACK_OFF + 10 + 10 * len(checker.orders) + waits + world.stepped_back_ms / 1000 / window


def run_tail(checker: Checker, platform: Platform, world: World, hosts: Sequence[Host]) -> None:
    """Let honest passes run on every host until nothing waits; fails where the bound passes first."""
    for host in hosts:
        host.start()
    for number, order in enumerate(platform.orders):
        order.finish(number % 2 == 0)
    checker.check()
    seen, began = len(platform.arrivals), world.ms
    bound = bound_in_windows(checker, world, hosts[0])
    for turn in count():
        waiting = _waiting(checker, platform, seen)
        if not waiting:
            break
        passed = (world.ms - began) / 1000 / hosts[0].rules.window_seconds
        assert passed <= bound, f"L1: after {passed:.0f} windows without a fault, not yet polled: {waiting}"
        host = hosts[turn % len(hosts)]
        if _tick(host, platform, world):
            checker.check()
            world.pass_time(host.rules.window_seconds)
        else:
            # No query can come until the first of them is due by the database's clock.
            due = min(_time(row["due_at"]) for row in waiting)
            world.pass_time(max((due - world.database_now).total_seconds(), host.rules.window_seconds))
    for host in hosts:
        host.intake.match_some_callbacks()
    checker.check()
    _check_callbacks(checker, platform)


def _tick(host: Host, platform: Platform, world: World) -> bool:
    host.maintenance.prepare(slots_of(host.rules))
    has_queried = False
    for opening in host.maintenance.openings(slots_of(host.rules)):
        exchange = host.begin(opening.slot)
        if exchange is not None:
            exchange.send(is_reachable=True)
            exchange.arrive(partial(platform.receive, world.ms, HONEST))
            exchange.finish()
            has_queried = True
    host.intake.match_some_callbacks()
    return has_queried


def _waiting(checker: Checker, platform: Platform, seen: int) -> list[Row]:
    """The orders that are still to be polled; all but a few can be settled, and then must be."""
    polled = {(arrival.account, name) for arrival in platform.arrivals[seen:] for name in arrival.ids}
    waiting = []
    for order in platform.orders:
        rows = checker.of(order)
        is_confused = len(rows) > 1
        for row in rows:
            was_polled = bool(polled & {(order.account, row["request_id"]), (order.account, row["custom_parm"])})
            suffices = was_polled and (order.has_wrong_mobile or is_confused)
            if row["state"] == "pending" and not suffices:
                waiting.append(row)
    return waiting


def _check_callbacks(checker: Checker, platform: Platform) -> None:
    """A true callback that was accepted has settled its order, or waits for one that billing never sent."""
    unmatched = rows_of(checker.engine, "SELECT account, request_id, custom_parm FROM unmatched_callbacks")
    names = {(row["account"], row[column]) for row in checker.orders for column in ("request_id", "custom_parm")}
    for row in unmatched:
        waits_for = {(row["account"], row[column]) for column in ("request_id", "custom_parm") if row[column]}
        assert not waits_for & names, f"S3: a callback was never matched to its order: {dict(row)}"
    for order in platform.orders:
        rows = checker.of(order)
        if not order.called_back_by or order.has_wrong_mobile or len(rows) != 1:
            continue
        held = {column for column in ("request_id", "custom_parm") if rows[0][column] is not None}
        if held & order.called_back_by:
            assert rows[0]["state"] in ("succeeded", "failed", "cancelled"), f"S3: a callback for {rows[0]} was lost"


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(time, datetime)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
