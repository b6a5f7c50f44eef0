"""What happens to an order next, when, and why not yet, in sentences."""

from datetime import datetime

from worker.domain.records.accounts import AccountState, Rules
from worker.domain.watching.next_step import NextStep, Step, Wait
from worker.words import N_, Skin
from worker.words.catalogue import message

ARCHIVED = N_("It is in the archive: it is not polled, and it is restored when somebody names it.")
_NOTHING = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}


def next_in_words(following: NextStep, now: datetime, skin: Skin) -> str:
    """When an order is polled next."""
    waits = {step.wait for step in following.steps}
    if waits & _NOTHING:
        return skin.text(N_("Nothing happens by itself."))
    if Wait.IN_FLIGHT in waits:
        return skin.text(N_("The answer of a query that includes it."))
    if following.polled_at is None:
        return skin.text(N_("A poll, but when cannot be told."))
    until = skin.moment(following.polled_at, now)
    if following.is_at_the_earliest:
        return skin.text(N_("A poll, at the earliest: %(until)s."), until=until)
    return skin.text(N_("A poll, as soon as a worker ticks: %(until)s."), until=until)


def wait_in_words(step: Step, state: AccountState, now: datetime, rules: Rules, skin: Skin) -> str:
    """Why it is not polled yet. `state` is its account's."""
    budget = N_("one query in %(seconds)s s") if rules.slots == 1 else N_("%(slots)s queries in %(seconds)s s")
    return skin.advice(
        message(step.wait),
        until="" if step.until is None else skin.moment(step.until, now),
        paused=pause_in_words(state.paused_at, state.paused_until, state.paused_by, state.pause_reason, skin),
        budget=skin.text(budget, slots=f"{rules.slots:,}", seconds=f"{rules.spacing_seconds:g}"),
        count=f"{step.count or 0:,}",
        per_query=step.per_query,
    )


def pause_in_words(at: datetime | None, until: datetime | None, by: str | None, reason: str | None, skin: Skin) -> str:
    """Who paused an account, since when, until when and why, as a clause."""
    return skin.text(
        N_("paused by %(by)s since %(since)s, until %(until)s%(why)s"),
        by=by or skin.text(N_("an operator")),
        since="" if at is None else skin.time(at),
        until=skin.text(N_("an operator ends it")) if until is None else skin.time(until),
        why="" if reason is None else skin.text(N_(": %(reason)s"), reason=reason),
    )
