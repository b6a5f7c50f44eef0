"""What happens to an order next, in words: why it is not polled yet, and when it is."""

from datetime import datetime
from typing import Any

from worker.adapters.error_text import one_line
from worker.cli.output import counted, duration_text, time_text
from worker.cli.pauses import pause_in_words
from worker.domain.next_step import Step, Wait
from worker.domain.records.parameters import Rules
from worker.views.order import Outlook

_WORDS = {
    Wait.FINAL: "it is final: nobody asks about it any more, and what the platform says later is only recorded",
    Wait.CANCELLED: "it is cancelled: nobody asks about it any more",
    Wait.UNRESOLVED: "asking has stopped, and a person decides: `reconciler resolve` or `reconciler reopen`;"
    " a callback still settles it",
    Wait.IN_FLIGHT: "a query about it is under way; should no answer come, it may be polled again from {until} on",
    Wait.GRACE: "its callback is waited for until {until} (RECONCILER_CALLBACK_GRACE_SECONDS)",
    Wait.NOT_DUE: "an answer found it still open, and the next poll is due {until}: an earlier one would bring little",
    Wait.NOT_CONFIGURED: "the settings do not name its account: nobody asks about its orders",
    Wait.NOT_SERVED: "no running worker has this account: add it to the settings of the workers, and restart them",
    Wait.NO_WORKER: "no worker runs: start one with `reconciler run`",
    Wait.BACK_OFF: "the account backs off until {until}, as the last query failed; `reconciler status` shows how",
    Wait.BUDGET: "the budget is used up until {until}: the platform allows {budget}",
    Wait.APART: "it is polled apart from the others: queries with it failed, or answers left it out",
    Wait.NEXT_QUERY: "the next query includes it",
    Wait.QUEUE: "{others} may be polled before it, {per_query} a query, {budget}",
}
_UNTOLD = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}


def to_response(outlook: Outlook, rules: Rules) -> dict[str, Any]:
    """What happens next, as JSON."""
    following = outlook.next_step
    return {
        "polled_at": following.polled_at,
        "is_at_the_earliest": following.is_at_the_earliest,
        "in_words": polled_in_words(outlook),
        "why": [
            {
                "wait": step.wait.value,
                "until": step.until,
                "orders_before": step.count,
                "in_words": in_words(step, outlook, rules),
            }
            for step in following.steps
        ],
    }


def polled_in_words(outlook: Outlook) -> str:
    """When it is polled next, as a sentence."""
    following, now = outlook.next_step, outlook.now
    if any(step.wait in _UNTOLD for step in following.steps):
        return "Next: nothing."
    if any(step.wait is Wait.IN_FLIGHT for step in following.steps):
        return "Next: the answer of a query that includes it."
    if following.polled_at is None:
        return "Next: a poll, but when cannot be told."
    bound = "at the earliest" if following.is_at_the_earliest else "or as soon as a worker ticks"
    return f"Next: a poll, {_at(following.polled_at, now)}, {bound}."


def in_words(step: Step, outlook: Outlook, rules: Rules) -> str:
    """One reason to wait, as a sentence without its full stop."""
    state = outlook.state
    if step.wait is Wait.PAUSED and state.paused_at is not None:
        words = pause_in_words(state.paused_at, state.paused_until, state.paused_by, state.pause_reason)
        return f"the account is {words} (`reconciler resume {one_line(state.account)}` ends it)"
    return _WORDS[step.wait].format(
        until="" if step.until is None else _at(step.until, outlook.now),
        budget=f"{_queries(rules.slots)} in {rules.spacing_seconds:g} s",
        others=counted(step.count or 0, "other due order"),
        per_query=step.per_query,
    )


def _queries(count: int) -> str:
    return "one query" if count == 1 else f"{count:,} queries"


def _at(time: datetime, now: datetime) -> str:
    wait = (time - now).total_seconds()
    return f"{time_text(time)} (in {duration_text(wait)})" if wait > 0 else "now"
