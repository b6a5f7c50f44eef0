"""Which ranges of the index of due orders a choice reads, and how much of each.

Orders that are polled in the same way, and were last looked at at about the same age, stand together in the index,
by `due_at`. A choice reads a page of both ends of each range; then, of the ranges whose page a batch would exhaust, the
next page. So it reads the same number of rows whatever the size of the table.
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

# Orders that are polled apart are few, and one of them is chosen: two groups of them are read.
_GROUPS = {Lane.BATCH: range(BUCKETS), Lane.ALONE: range(2), Lane.SUSPECT: range(2), Lane.LONE_SUSPECT: range(2)}
INDEX_RANGES: Sequence[IndexRange] = [
    (lane, kind, group) for lane in Lane for kind in IdKind for group in _GROUPS[lane]
]
"""Every range of the index of due orders."""


def first_pages(state: AccountState, now: datetime, rules: Rules) -> Pages:
    """A page of both ends of each range, and what somebody wants checked."""
    return _first_pages(rules.batch_size, state.may_batch_custom_parm(now, rules))


@lru_cache(maxsize=8)
def _first_pages(limit: int, batches_custom_parm: bool) -> Pages:
    singles = {index_range for index_range in INDEX_RANGES if _is_single(index_range, batches_custom_parm)}
    first = tuple((each, 1 if each in singles else page_size_of(each[2], limit)) for each in INDEX_RANGES)
    last = tuple((each, last_page_size_of(each[2], limit)) for each in INDEX_RANGES if each not in singles)
    return Pages(first=first, last=tuple(page for page in last if page[1]), checked=limit)


# Which groups give much is the same for hours: a few of these serve an account.
@lru_cache(maxsize=64)
def _next_pages(groups: tuple[tuple[IdKind, int], ...], limit: int) -> Pages:
    return Pages(first=tuple(((Lane.BATCH, kind, group), limit) for kind, group in groups))


def next_pages(groups: tuple[tuple[IdKind, int], ...], rules: Rules) -> Pages:
    """As much of these age buckets as a batch can hold."""
    return _next_pages(groups, rules.batch_size)


def _is_single(index_range: IndexRange, batches_custom_parm: bool) -> bool:
    """Whether its orders are polled one by one: then the first of all is chosen."""
    lane, kind, _ = index_range
    return lane is not Lane.BATCH or (kind is IdKind.CUSTOM_PARM and not batches_custom_parm)
