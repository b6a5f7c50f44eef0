"""What happens to an order next, when, and why not yet, in sentences."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from worker.domain.records.accounts import AccountState
from worker.domain.records.parameters import Rules
from worker.domain.watching.next_step import NextStep, Step, Wait
from worker.words import N_, Skin

WAITS: Mapping[Wait, str] = MappingProxyType(
    {
        Wait.FINAL: N_("It is final: it is not polled any more, and what the platform says later is only recorded."),
        Wait.CANCELLED: N_("It is cancelled: it is not polled any more."),
        Wait.UNRESOLVED: N_(
            "Polling has stopped, and a person decides: %(resolve)s, or %(reopen)s. A callback still settles it."
        ),
        Wait.IN_FLIGHT: N_(
            "A query that includes it is under way. Without an answer it may be polled again: %(until)s."
        ),
        Wait.GRACE: N_("Its callback is waited for until %(until)s."),
        Wait.NOT_DUE: N_(
            "The last answer found it still open. An earlier poll would bring little, the next is due: %(until)s."
        ),
        Wait.NOT_CONFIGURED: N_("The settings do not name its account: nobody polls its orders."),
        Wait.NO_WORKER: N_("No worker is running: %(start)s."),
        Wait.NOT_SERVED: N_("No running worker has its account: have it added to their settings, and restart them."),
        Wait.PAUSED: N_("The account is %(paused)s. To end that, %(resume)s."),
        Wait.BACK_OFF: N_("The account backs off until %(until)s, as a query failed. Read how in %(queries)s."),
        Wait.BUDGET: N_("The platform allows %(budget)s; the next may be sent: %(until)s."),
        Wait.APART: N_("It is polled apart from the others: queries with it failed, or answers left it out."),
        Wait.NEXT_QUERY: N_("The next query includes it."),
        Wait.QUEUE: N_(
            "Other due orders that may be polled before it: %(count)s. A query polls %(per_query)s, and the platform"
            " allows %(budget)s."
        ),
    }
)
"""Each reason to wait."""
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
        WAITS[step.wait],
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
