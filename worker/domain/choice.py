"""Which orders the next query asks about: first version.

First queries go before re-queries and the oldest due goes first, so that an order that has probably settled since its
grace ended is not kept waiting by orders that were seen still recharging; a fifth of each batch is kept for due
re-queries, so that a flood of new orders starves none of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.accounts import AccountState
from worker.domain.orders import Lane, Order
from worker.domain.reports import IdKind
from worker.domain.rules import Rules
from worker.domain.turns import Work, next_work

EACH_KIND_EVERY = 5
"""Each id kind gets at least every fifth batch while it waits."""
SMALL_BATCH = 5
"""Below this size a fifth of a batch is no order: every fifth batch starts with re-queries instead."""
RE_QUERIES_EVERY = 5
SHORTEST_WAIT_WINDOWS = 2
BATCH_RETRY_WINDOWS = 60
"""How often a platform that answers one order a query is tried with a batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A pending order that is due, as far as the choice needs to know it."""

    order_id: int
    id_kind: IdKind
    lane: Lane
    due_at: datetime
    was_asked: bool
    """Whether an answered query asked about it before."""
    check_requested_at: datetime | None = None
    suspect_group: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the next query is to carry."""

    work: Work
    id_kind: IdKind
    order_ids: tuple[int, ...] = ()
    """At most a batch, each once; empty for a group of suspects, which is asked as it stands."""
    suspect_group: int | None = None
    is_batch_retry: bool = False
    """Whether a batch is tried although the platform answers one order a query."""


def next_due(order: Order, now: datetime, rules: Rules) -> datetime:
    """When an order is to be asked about again: √(age in windows) windows from now, at least 2."""
    age_windows = max(0.0, (now - order.submitted_at).total_seconds() / rules.window_seconds)
    return now + rules.windows(max(SHORTEST_WAIT_WINDOWS, math.sqrt(age_windows)))


def first_due(submitted_at: datetime, rules: Rules) -> datetime:
    """When the grace for an order's callback ends."""
    return submitted_at + timedelta(seconds=rules.grace_seconds)


def choose(candidates: Sequence[Candidate], state: AccountState, now: datetime, rules: Rules) -> Choice | None:
    """Choose what the account's next slot is spent on, out of its due orders; None where nothing is due."""
    if not candidates:
        return None
    waiting: dict[Work, list[Candidate]] = {}
    for candidate in candidates:
        waiting.setdefault(_work_of(candidate, state), []).append(candidate)
    if state.one_item_mode:
        return _retry_batch(waiting, state, now, rules) or _choose_single(candidates, state)
    work = next_work(state.turn, waiting)
    if work is Work.BATCH:
        return _choose_batch(waiting[work], state, rules)
    if work is Work.SUSPECTS:
        return _choose_suspects(waiting[work], state)
    return _choose_single(waiting[work], state)


def spend(state: AccountState, choice: Choice, now: datetime, rules: Rules) -> AccountState:
    """The account's state once a slot was granted for a choice."""
    state = replace(state, turn=state.turn + 1)
    if choice.is_batch_retry:
        state = replace(state, batch_retry_at=now + rules.windows(BATCH_RETRY_WINDOWS))
    if choice.work is not Work.BATCH:
        return state
    by_request_id = choice.id_kind is IdKind.REQUEST_ID
    return replace(
        state,
        batches=state.batches + 1,
        batches_without_request_id=0 if by_request_id else state.batches_without_request_id + 1,
        batches_without_custom_parm=state.batches_without_custom_parm + 1 if by_request_id else 0,
    )


def choose_batch(candidates: Iterable[Candidate], limit: int, *, batch_number: int) -> tuple[int, ...]:
    """The ids of at most `limit` orders out of due ones of one id kind, each once, in the order of their worth."""
    waiting = list({candidate.order_id: candidate for candidate in candidates}.values())
    checked = sorted((c for c in waiting if c.check_requested_at), key=_by_request)[: _half(limit, batch_number)]
    taken = {candidate.order_id for candidate in checked}
    rest = sorted((c for c in waiting if c.order_id not in taken), key=_by_due)
    first = [candidate for candidate in rest if not candidate.was_asked]
    again = [candidate for candidate in rest if candidate.was_asked]
    room = limit - len(checked)
    if limit < SMALL_BATCH:
        # Shifted now and then: otherwise they would all be of the id kind whose turn every fifth batch is.
        is_for_again = (batch_number + batch_number // 20) % RE_QUERIES_EVERY == RE_QUERIES_EVERY - 1
        ordered = again + first if is_for_again else first + again
    else:
        kept_for_again = min(len(again), math.ceil(limit / 5), room)
        ordered = first[: room - kept_for_again] + again
        ordered += first[room - kept_for_again :]
    return tuple(candidate.order_id for candidate in (checked + ordered)[:limit])


def choose_id_kind(batch: Sequence[Candidate], state: AccountState) -> IdKind:
    """The id kind of the oldest due order; but a kind that waits gets at least every fifth batch."""
    kinds = {candidate.id_kind for candidate in batch}
    passed_over = {
        IdKind.REQUEST_ID: state.batches_without_request_id,
        IdKind.CUSTOM_PARM: state.batches_without_custom_parm,
    }
    overdue = [kind for kind in kinds if passed_over[kind] >= EACH_KIND_EVERY - 1]
    if overdue:
        return max(overdue, key=passed_over.__getitem__)
    return min(batch, key=_by_due).id_kind


def _work_of(candidate: Candidate, state: AccountState) -> Work:
    blind = candidate.id_kind is IdKind.CUSTOM_PARM and not state.echoes_custom_parm
    if candidate.lane is Lane.ALONE:
        return Work.SINGLE
    if candidate.lane is Lane.SUSPECT:
        return Work.SUSPECTS
    return Work.SINGLE if blind else Work.BATCH


def _retry_batch(
    waiting: Mapping[Work, Sequence[Candidate]], state: AccountState, now: datetime, rules: Rules
) -> Choice | None:
    """In one-item mode: a batch, where it is time to try one and there are orders enough to learn from it."""
    if Work.BATCH not in waiting or (state.batch_retry_at is not None and state.batch_retry_at > now):
        return None
    choice = _choose_batch(waiting[Work.BATCH], state, rules)
    return replace(choice, is_batch_retry=True) if len(choice.order_ids) > 1 else None


def _choose_batch(batch: Sequence[Candidate], state: AccountState, rules: Rules) -> Choice:
    kind = choose_id_kind(batch, state)
    limit = 1 if state.configuration_refused else rules.batch_size
    order_ids = choose_batch((c for c in batch if c.id_kind is kind), limit, batch_number=state.batches)
    return Choice(work=Work.BATCH, id_kind=kind, order_ids=order_ids)


def _choose_suspects(suspects: Sequence[Candidate], state: AccountState) -> Choice:
    oldest = min(suspects, key=_by_due)
    if state.configuration_refused:
        return Choice(work=Work.SINGLE, id_kind=oldest.id_kind, order_ids=(oldest.order_id,))
    return Choice(work=Work.SUSPECTS, id_kind=oldest.id_kind, suspect_group=oldest.suspect_group)


def _choose_single(singles: Sequence[Candidate], state: AccountState) -> Choice:
    # Checks that somebody asked for go first every second time, as they fill at most half a batch. Singles may own but
    # every tenth turn, so the tens are counted, too.
    checks_first = (state.turn + state.turn // 10) % 2 == 0

    def rank(candidate: Candidate) -> tuple[bool, datetime, int]:
        is_checked = checks_first and candidate.check_requested_at is not None
        return (not is_checked, candidate.due_at, candidate.order_id)

    chosen = min(singles, key=rank)
    return Choice(work=Work.SINGLE, id_kind=chosen.id_kind, order_ids=(chosen.order_id,))


def _half(limit: int, batch_number: int) -> int:
    return limit // 2 if limit > 1 else batch_number % 2


def _by_due(candidate: Candidate) -> tuple[datetime, int]:
    return (candidate.due_at, candidate.order_id)


def _by_request(candidate: Candidate) -> tuple[datetime, int]:
    return (candidate.check_requested_at or candidate.due_at, candidate.order_id)
