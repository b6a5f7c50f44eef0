"""Choose how an account's next slot is spent: the kind of query, and the orders that it carries.

Accounts of one SID take turns, and so do batches, suspects and orders that are polled alone. A batch holds the orders
of highest poll priority (`worker.domain.scheduling`). Each pick holds the reason why its order was picked.

A choice reads ranges of the index of due orders. A range holds the orders of one lane and id kind that were last polled
at about the same age, sorted by `due_at`. At first, one page at each end of each range is read. If a batch would take
all orders of a range's first page, the next page of that range is read, too. So the number of rows that a choice reads
does not depend on the size of the table.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from itertools import groupby
from operator import attrgetter

from worker.domain.records.accounts import BATCH_RETRY_WINDOWS, ECHO_RETRY_WINDOWS, AccountState, Rules
from worker.domain.records.orders import IdKind, Lane, Order
from worker.domain.records.queries import Candidate, Choice, IndexRange, Pages, Pick, Reason, Work
from worker.domain.records.sentences import Sentence, _
from worker.domain.scheduling.ages_and_observations import BUCKETS
from worker.domain.scheduling.pick_by_priority import (
    SPARE_PAGE_SIZE,
    by_due,
    exhausted,
    fill_spare_positions,
    last_page_size_of,
    page_size_of,
    pick_batch,
    priority_of,
)
from worker.domain.scheduling.poll_schedule import PollSchedule

EACH_KIND_EVERY = 5
"""While orders with an id kind wait, this kind gets at least every fifth batch."""
LONE_SUSPECT_EVERY = 5
"""While lone suspects wait, they get at least every fifth of the slots for suspects."""
# While all three kinds of work wait, any ten slots in a row are one for a single order, five for suspects and four for
# batches. Suspects get half of the slots, the most that they may have, because a group of suspects keeps up to 99 good
# orders out of the batches.
_PATTERN = (
    Work.BATCH,
    Work.SUSPECTS,
    Work.BATCH,
    Work.SUSPECTS,
    Work.SINGLE,
    Work.SUSPECTS,
    Work.BATCH,
    Work.SUSPECTS,
    Work.BATCH,
    Work.SUSPECTS,
)
SINGLE_SHARE = _PATTERN.count(Work.SINGLE) / len(_PATTERN)
"""The share of slots for orders that are polled one by one, while batches and suspects wait."""

# If no work of a slot's own kind waits, the slot goes to the first of these kinds that waits. Batches come first.
# Suspects come after singles: while a single waits, suspects get no other slots than their own five of ten.
_SUBSTITUTES = {
    Work.BATCH: (Work.SINGLE, Work.SUSPECTS),
    Work.SUSPECTS: (Work.BATCH, Work.SINGLE),
    Work.SINGLE: (Work.BATCH, Work.SUSPECTS),
}
# Only batches need all buckets. The other lanes hold few orders, and a choice takes one order or group from them: two
# buckets are enough.
_BUCKETS_READ = {Lane.BATCH: range(BUCKETS), Lane.ALONE: range(2), Lane.SUSPECT: range(2), Lane.LONE_SUSPECT: range(2)}
INDEX_RANGES: Sequence[IndexRange] = [
    (lane, kind, bucket) for lane in Lane for kind in IdKind for bucket in _BUCKETS_READ[lane]
]
"""Every range of the index of due orders."""


def choose(
    candidates: Sequence[Candidate], state: AccountState, schedule: PollSchedule, now: datetime, rules: Rules
) -> Choice | None:
    """Choose from the account's due orders how its next slot is spent; None if nothing is due.

    `candidates` come from several pages, which may overlap: an order that was read twice counts once.
    """
    if not candidates:
        return None
    candidates = each_once(candidates)
    waiting: dict[Work, list[Candidate]] = {}
    # Candidates come in runs with one lane and id kind, so look up the kind of work once for each run. A lookup for
    # each candidate would take longer than the rest of the choice.
    for (lane, id_kind), alike in groupby(candidates, key=attrgetter("lane", "id_kind")):
        waiting.setdefault(_work_of(lane, id_kind, state, now, rules), []).extend(alike)
    if state.one_item_mode:
        return _retry_batch(waiting, state, schedule, now, rules) or _choose_single(candidates, state)
    work = next_work(state.turn, waiting)
    if work is Work.BATCH:
        return _choose_batch(waiting[work], state, schedule, now, rules)
    if work is Work.SUSPECTS:
        return _choose_suspects(waiting[work], state)
    return _choose_single(waiting[work], state)


def free_positions(choice: Choice, state: AccountState, rules: Rules) -> int:
    """How many positions of a batch the due orders leave free for orders that are not due.

    The result is 0 if the batch is a try or limited to one order, because it then tests what the account can do.
    """
    is_tried = state.one_item_mode or (choice.id_kind is IdKind.CUSTOM_PARM and not state.echoes_custom_parm)
    if choice.work is not Work.BATCH or is_tried or state.configuration_refused:
        return 0
    return rules.batch_size - len(choice.picks)


def fill(
    choice: Choice, candidates: Sequence[Candidate], free: int, schedule: PollSchedule, now: datetime, rules: Rules
) -> Choice:
    """The same batch with at most `free` more orders, which are not due."""
    return replace(choice, picks=(*choice.picks, *fill_spare_positions(candidates, free, schedule, now, rules)))


def each_once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates without duplicates, in the order in which they were first read."""
    return list({candidate.order_id: candidate for candidate in candidates}.values())


def spend(state: AccountState, choice: Choice, now: datetime, rules: Rules) -> AccountState:
    """The account's state after a slot was granted for a choice."""
    state = replace(state, turn=state.turn + 1, pauses=state.lasting_pauses(now))
    if choice.is_batch_retry:
        state = replace(state, batch_retry_at=now + rules.windows(BATCH_RETRY_WINDOWS))
    if choice.work is Work.SUSPECTS:
        state = replace(state, suspect_turns=state.suspect_turns + 1)
    if choice.work is not Work.BATCH:
        return state
    by_request_id = choice.id_kind is IdKind.REQUEST_ID
    if not by_request_id and not state.echoes_custom_parm:
        state = replace(state, echo_retry_at=now + rules.windows(ECHO_RETRY_WINDOWS))
    return replace(
        state,
        batches=state.batches + 1,
        batches_without_request_id=0 if by_request_id else state.batches_without_request_id + 1,
        batches_without_custom_parm=state.batches_without_custom_parm + 1 if by_request_id else 0,
    )


def _work_of(lane: Lane, id_kind: IdKind, state: AccountState, now: datetime, rules: Rules) -> Work:
    blind = id_kind is IdKind.CUSTOM_PARM and not state.may_batch_custom_parm(now, rules)
    if lane is Lane.ALONE:
        return Work.SINGLE
    if lane.is_suspect:
        return Work.SUSPECTS
    return Work.SINGLE if blind else Work.BATCH


def _retry_batch(
    waiting: Mapping[Work, Sequence[Candidate]],
    state: AccountState,
    schedule: PollSchedule,
    now: datetime,
    rules: Rules,
) -> Choice | None:
    """In one-item mode, choose a batch; None if it is too early to try a batch again, or if it would hold fewer than
    two orders."""
    if Work.BATCH not in waiting or (state.batch_retry_at is not None and state.batch_retry_at > now):
        return None
    choice = _choose_batch(waiting[Work.BATCH], state, schedule, now, rules)
    return replace(choice, is_batch_retry=True) if len(choice.picks) > 1 else None


def _choose_batch(
    waiting: Sequence[Candidate], state: AccountState, schedule: PollSchedule, now: datetime, rules: Rules
) -> Choice:
    """Choose the batch with the highest sum of priorities; an id kind that waits gets at least every fifth batch."""
    limit = 1 if state.configuration_refused else rules.batch_size
    of_kind = {kind: some for kind in IdKind if (some := [each for each in waiting if each.id_kind is kind])}
    priority = partial(priority_of, schedule=schedule, now=now)
    batches = {
        kind: pick_batch(of_kind[kind], limit, priority=priority, batch_number=state.batches) for kind in of_kind
    }
    passed_over = {
        IdKind.REQUEST_ID: state.batches_without_request_id,
        IdKind.CUSTOM_PARM: state.batches_without_custom_parm,
    }
    overdue = [kind for kind in batches if passed_over[kind] >= EACH_KIND_EVERY - 1]
    if overdue:
        kind = max(overdue, key=passed_over.__getitem__)
    else:
        kind = max(sorted(batches), key=lambda kind: sum(pick.priority for pick in batches[kind]))
    # Report the used-up pages of both id kinds: with more candidates, the batch of the kind that was not chosen may
    # have the higher sum.
    more = tuple(
        (kind, bucket) for kind in sorted(of_kind) for bucket in exhausted(of_kind[kind], batches[kind], limit)
    )
    return Choice(work=Work.BATCH, id_kind=kind, picks=batches[kind], exhausted=more)


def _choose_suspects(suspects: Sequence[Candidate], state: AccountState) -> Choice:
    """Choose the group of two or more suspects that has been due for longest, since some of its orders may be good.

    Every fifth time, and if there is no group, choose the lone suspect that has been due for longest.
    """
    groups = [each for each in suspects if each.lane is Lane.SUSPECT]
    lone = [each for each in suspects if each.lane is Lane.LONE_SUSPECT]
    is_turn_of_lone = state.suspect_turns % LONE_SUSPECT_EVERY == LONE_SUSPECT_EVERY - 1
    oldest = min(lone if lone and (is_turn_of_lone or not groups) else groups, key=by_due)
    if state.configuration_refused:
        return Choice(work=Work.SINGLE, id_kind=oldest.id_kind, picks=(_alone(oldest),))
    return Choice(work=Work.SUSPECTS, id_kind=oldest.id_kind, suspect_group=oldest.suspect_group)


def _choose_single(singles: Sequence[Candidate], state: AccountState) -> Choice:
    # Orders with a requested check go first at every second choice of a single, just as they fill at most half of a
    # batch. While batches and suspects wait, singles get only every tenth turn. All these turns are even or all are
    # odd, so `turn // 10` is added to make the parity alternate.
    checks_first = (state.turn + state.turn // 10) % 2 == 0

    def rank(candidate: Candidate) -> tuple[bool, bool, datetime, int]:
        is_checked = checks_first and candidate.check_requested_at is not None
        # Pending orders go first: callbacks about many unresolved orders must not keep them from being polled.
        return (not is_checked, candidate.is_unresolved, candidate.due_at, candidate.order_id)

    chosen = min(singles, key=rank)
    return Choice(work=Work.SINGLE, id_kind=chosen.id_kind, picks=(_alone(chosen),))


def _alone(candidate: Candidate) -> Pick:
    return Pick(order_id=candidate.order_id, reason=Reason.CHECKED if candidate.check_requested_at else Reason.ALONE)


def next_work(turn: int, waiting: Collection[Work]) -> Work:
    """The kind of work that gets an account's slot number `turn`. `waiting` holds one kind or more."""
    owner = _PATTERN[turn % len(_PATTERN)]
    return next(work for work in (owner, *_SUBSTITUTES[owner]) if work in waiting)


def accounts_in_turn(accounts: Sequence[str], last: str | None) -> Iterator[str]:
    """The accounts of a SID in the order of their turns: the account after `last` goes first."""
    start = accounts.index(last) + 1 if last in accounts else 0
    yield from accounts[start:]
    yield from accounts[:start]


def first_pages(state: AccountState, now: datetime, rules: Rules) -> Pages:
    """The pages that a choice reads first: those at the ends of each index range, and the orders with a requested
    check."""
    return _first_pages(rules.batch_size, state.may_batch_custom_parm(now, rules))


@lru_cache(maxsize=8)
def _first_pages(limit: int, batches_custom_parm: bool) -> Pages:
    singles = {index_range for index_range in INDEX_RANGES if _is_single(index_range, batches_custom_parm)}
    first = tuple((each, 1 if each in singles else page_size_of(each[2], limit)) for each in INDEX_RANGES)
    last = tuple((each, last_page_size_of(each[2], limit)) for each in INDEX_RANGES if each not in singles)
    return Pages(first=first, last=tuple(page for page in last if page[1]), checked=limit)


# A small cache is enough, since an account's batches use up pages of the same buckets for hours.
@lru_cache(maxsize=64)
def next_pages(buckets: tuple[tuple[IdKind, int], ...], limit: int) -> Pages:
    """One page for each of these age buckets, with `limit` orders: as many as a batch can hold."""
    return Pages(first=tuple(((Lane.BATCH, kind, bucket), limit) for kind, bucket in buckets))


@lru_cache(maxsize=2)
def spare_pages(kind: IdKind) -> Pages:
    """For each age bucket, a page of the orders with this id kind that become due next. Bucket 0 is left out, because
    its orders were never polled."""
    return Pages(first=(), not_due=tuple(((Lane.BATCH, kind, bucket), SPARE_PAGE_SIZE) for bucket in range(1, BUCKETS)))


def refuse_together(orders: Sequence[Order], state: AccountState, rules: Rules) -> Sentence | None:
    """Why one query may not poll these orders, which a person has named; None if it may. One order alone may always be
    polled.

    An order's lane decides what an answer proves about the order. So if the lane keeps an order out of the batches, a
    person cannot put it into one either. Otherwise, an empty answer to the batch would count like an answer to a query
    of this order alone.
    """
    if len(orders) == 1:
        return None
    if len({(order.account, order.id_kind) for order in orders}) > 1:
        return _("the orders are of several accounts or kinds of id: name those of one")
    if state.configuration_refused or state.one_item_mode:
        return _("this account polls one order a query at present: name one")
    if len(orders) > rules.batch_size:
        most, count = rules.batch_size, len(orders)
        return _("a batch holds at most %(most)s orders (RECONCILER_BATCH_SIZE), not %(all)s", most, count)
    apart = [f"id:{order.id}" for order in orders if order.lane.is_apart and order.state.may_settle]
    return _("polled apart from others, so name each alone: %(orders)s", ", ".join(apart)) if apart else None


def _is_single(index_range: IndexRange, batches_custom_parm: bool) -> bool:
    """Whether the orders of the range join no batch. If so, only the first of them can be chosen."""
    lane, kind, _ = index_range
    return lane is not Lane.BATCH or (kind is IdKind.CUSTOM_PARM and not batches_custom_parm)
