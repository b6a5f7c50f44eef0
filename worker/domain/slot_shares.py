"""Whose turn a slot is: which account's, and whether batches, suspects or orders that are polled alone get it."""

from collections.abc import Collection, Iterator, Sequence

from worker.domain.records.queries import Work

# Any ten slots in a row hold one single, five suspects and four batches while all three wait: a group of suspects keeps
# up to 99 good orders out of their batches, so suspects get all that the rule allows.
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

# Who takes a slot whose owner has no work. Batches come first, and suspects take none while a single waits: they get
# five of ten at most.
_SUBSTITUTES = {
    Work.BATCH: (Work.SINGLE, Work.SUSPECTS),
    Work.SUSPECTS: (Work.BATCH, Work.SINGLE),
    Work.SINGLE: (Work.BATCH, Work.SUSPECTS),
}


def next_work(turn: int, waiting: Collection[Work]) -> Work:
    """The kind of work, out of those that wait (at least one), that an account's slot number `turn` goes to."""
    owner = _PATTERN[turn % len(_PATTERN)]
    return next(work for work in (owner, *_SUBSTITUTES[owner]) if work in waiting)


def accounts_in_turn(accounts: Sequence[str], last: str | None) -> Iterator[str]:
    """Accounts that share a SID take turns: the one after the last goes first."""
    start = accounts.index(last) + 1 if last in accounts else 0
    yield from accounts[start:]
    yield from accounts[:start]
