"""The story of one order: its truth, the platform's answer to each poll, and the worker's events."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from tests.platforms.platform import QueryRecord
from tests.platforms.truth import TrueOrder

_MOST_LINES = 24


def story_of(
    order: TrueOrder,
    index: int,
    record: Sequence[QueryRecord],
    row: dict[str, Any],
    events: Sequence[tuple[float, dict[str, Any]]],
) -> str:
    """A few lines; times are windows since the start."""
    head = (
        f"    {order.account}:{order.request_id}/{order.custom_parm} given {'+'.join(sorted(order.given))},"
        f" placed {order.placed_at:.1f}, enqueued {order.enqueued_at:.1f}, known from {_time(order.known_from)},"
        f" ends {_time(order.settles_at)} as {order.result} {order.amount!r} {order.remark}, mask {order.mask},"
        f" denial {order.denial}, denied {order.denied[0]:.0f}..{order.denied[1]:.0f}, refused {order.is_refused},"
        f" wrong number {order.mobile != order.billed_mobile}, callbacks {[round(at) for at, _ in order.callbacks]}"
    )
    polls = [(seen.at, _poll(index, seen)) for seen in record if index in seen.orders]
    happened = [(at, _event(event)) for at, event in events]
    lines = []
    for what, group in groupby(sorted([*polls, *happened], key=lambda each: each[0]), key=lambda each: each[1]):
        times = [at for at, _ in group]
        when = f"{times[0]:.1f}" if len(times) == 1 else f"{times[0]:.1f}..{times[-1]:.1f} ({len(times)} times)"
        lines.append(f"      {when}  {what}")
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES
        lines = [*lines[: _MOST_LINES // 2], f"      ... {left_out} more ...", *lines[-_MOST_LINES // 2 :]]
    end = f"      in the end: {row['state']}, {row['attention']}, {row['query_count']} polls, lane {row['lane']}"
    return "\n".join([head, *lines, end])


def _poll(index: int, seen: QueryRecord) -> str:
    size = "alone" if len(seen.orders) == 1 else f"among {len(seen.orders)}"
    flap = " (a flap)" if seen.is_flap else ""
    denying = " (all denied)" if seen.is_denying else ""
    return f"polled {size} by {seen.kind}: {seen.said.get(index, seen.outcome)}{denying}{flap}"


def _event(event: dict[str, Any]) -> str:
    return f"* {event['kind']}: {(event['detail'] or '')[:110]}"


def _time(at: float | None) -> str:
    return "never" if at is None else f"{at:.1f}"
