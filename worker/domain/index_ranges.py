"""Which ranges of the index of due orders a choice reads, and how much of each.

Orders of the same lane and id kind that were last polled at about the same age are adjacent in the index, by `due_at`.
A choice reads a page of both ends of each range; then, of the ranges whose page a batch would exhaust, the next page.
So it reads the same number of rows whatever the size of the table.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from worker.domain.records.accounts import AccountState
from worker.domain.records.candidates import IndexRange, Pages
from worker.domain.records.orders import Lane
from worker.domain.records.parameters import Rules
from worker.domain.records.reports import IdKind
from worker.domain.scheduling.ages import BUCKETS
from worker.domain.scheduling.fill_batch import last_page_size_of, page_size_of
from worker.domain.scheduling.spare_positions import SPARE_PAGE_SIZE

# Few orders stand in the other lanes, and one of them is chosen: two buckets are enough.
_BUCKETS_READ = {Lane.BATCH: range(BUCKETS), Lane.ALONE: range(2), Lane.SUSPECT: range(2), Lane.LONE_SUSPECT: range(2)}
INDEX_RANGES: Sequence[IndexRange] = [
    (lane, kind, bucket) for lane in Lane for kind in IdKind for bucket in _BUCKETS_READ[lane]
]
"""Every range of the index of due orders."""


def first_pages(state: AccountState, now: datetime, rules: Rules) -> Pages:
    """A page of both ends of each range, and the orders with a requested check."""
    return _first_pages(rules.batch_size, state.may_batch_custom_parm(now, rules))


@lru_cache(maxsize=8)
def _first_pages(limit: int, batches_custom_parm: bool) -> Pages:
    singles = {index_range for index_range in INDEX_RANGES if _is_single(index_range, batches_custom_parm)}
    first = tuple((each, 1 if each in singles else page_size_of(each[2], limit)) for each in INDEX_RANGES)
    last = tuple((each, last_page_size_of(each[2], limit)) for each in INDEX_RANGES if each not in singles)
    return Pages(first=first, last=tuple(page for page in last if page[1]), checked=limit)


# The buckets that a batch exhausts stay the same for hours: an account needs a few entries.
@lru_cache(maxsize=64)
def _next_pages(buckets: tuple[tuple[IdKind, int], ...], limit: int) -> Pages:
    return Pages(first=tuple(((Lane.BATCH, kind, bucket), limit) for kind, bucket in buckets))


def next_pages(buckets: tuple[tuple[IdKind, int], ...], rules: Rules) -> Pages:
    """Of each of these age buckets as many orders as a batch can hold."""
    return _next_pages(buckets, rules.batch_size)


@lru_cache(maxsize=2)
def spare_pages(kind: IdKind) -> Pages:
    """Of each age bucket the orders of an id kind that become due next. Those of bucket 0 were never polled."""
    return Pages(first=(), not_due=tuple(((Lane.BATCH, kind, bucket), SPARE_PAGE_SIZE) for bucket in range(1, BUCKETS)))


def _is_single(index_range: IndexRange, batches_custom_parm: bool) -> bool:
    """Whether its orders are polled one by one: then only the first of a range can be chosen."""
    lane, kind, _ = index_range
    return lane is not Lane.BATCH or (kind is IdKind.CUSTOM_PARM and not batches_custom_parm)
