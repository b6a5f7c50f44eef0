"""Sentences about events, acts, findings of monitoring, states of endpoints, and an order's next step."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from worker.domain.monitoring.next_step import NextStep, Step, Wait
from worker.domain.notifications.endpoint_watch import Condition, EndpointView, unsent_since
from worker.domain.orders.verdicts import Verdict
from worker.domain.records.accounts import AccountState, Pause, Rules
from worker.domain.records.coded_texts import CodedText, TextCode, worded
from worker.domain.records.monitoring import BackOffReason, Finding
from worker.domain.records.orders import Attention, OrderState, Source
from worker.domain.records.sentences import Sentence
from worker.words import N_, Skin, lasting
from worker.words.catalogue import ENTRIES, FINDINGS, message, name, name_of

_NAMES: Mapping[str, type[StrEnum]] = MappingProxyType(
    {"state": OrderState, "attention": Attention, "raised": Attention, "shown": Attention, "by": Source}
)
"""The type of an event's value, by the value's name."""
_WHO = (N_("the platform"), N_("a query"), N_("a callback"))
"""The possible values of `who`, the source of a result, in a detail."""
_TIMES = ("time", "until")
_TRIED_AGAIN = (Condition.IN_DOUBT, Condition.RESTING, Condition.FAILING)
_NOTHING = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}
DELETED = N_("It was deleted meanwhile.")


def detail_text(detail: str | None, skin: Skin) -> str:
    """A detail's code as text in the reader's language. A detail without a code is returned unchanged."""
    if not isinstance(detail, CodedText):
        return detail or ""
    names = {name: name_of(_NAMES[name], one, skin) for name, one in detail.values.items() if name in _NAMES}
    names |= {name: skin.translate(one) for name, one in detail.values.items() if one in _WHO}
    return worded(detail.code, {**detail.values, **names, **_times(detail, skin)}, skin.translate)


def proof_in_words(verdict: Verdict | None, skin: Skin) -> str:
    """The clause about what an answer proves about an order. `verdict` is None if the answer leaves the order out."""
    if verdict is None:
        return skin.text("left out of the answer, which proves nothing")
    proved, reason = name(verdict.effect, skin), detail_text(verdict.reason, skin)
    return skin.text("%(what)s: %(reason)s", proved, reason) if reason else proved


def with_times(detail: str | None, skin: Skin) -> str | None:
    """The English text of a detail, with its times in the reader's time zone, and its durations in words.

    A detail without a code is returned unchanged.
    """
    return detail.having(**_times(detail, skin)) if isinstance(detail, CodedText) else detail


def _times(detail: CodedText, skin: Skin) -> dict[str, str]:
    values = detail.values
    times = {name: skin.time(datetime.fromisoformat(values[name])) for name in _TIMES if name in values}
    lasts = values.get("lasts")
    return times if lasts is None else {**times, "lasts": skin.duration(float(lasts.removesuffix(" s")))}


def clause_of(finding: Finding, skin: Skin) -> str:
    """A finding as a clause, without its account."""
    values = dict(finding.values)
    if isinstance(why := values.get("why"), BackOffReason):
        values["why"] = name(why, skin)
    if isinstance(view := values.get("endpoint"), EndpointView):
        values["endpoint"] = endpoint_in_words(view, skin)
    if "by" in values:
        values["by"] = _who(values["by"], skin)
    return skin.advice(message(finding.kind), **values)


def sentence_of(finding: Finding) -> Sentence:
    """A finding about the database, as a clause."""
    values = (lasting(one.total_seconds()) for one in finding.values.values() if isinstance(one, timedelta))
    return Sentence(message(finding.kind), *values)


def finding_in_words(finding: Finding, skin: Skin) -> str:
    """A finding as a clause, with its account."""
    clause = clause_of(finding, skin)
    if finding.account is None:
        return clause
    return skin.text("%(account)s: %(what)s", finding.account, clause)


def finding_in_sentences(finding: Finding, skin: Skin) -> str:
    """A finding and its consequence in sentences, without its account."""
    clause = clause_of(finding, skin)
    found = skin.text("%(what)s.", clause[:1].upper() + clause[1:])
    return skin.text("%(means)s %(do)s", found, skin.advice(FINDINGS[finding.name].do))


def endpoint_in_words(view: EndpointView, skin: Skin) -> str:
    """The state of an endpoint as a clause."""
    endpoint, now = view.endpoint, view.now
    due = None if endpoint is None else unsent_since(endpoint, view.count, now)
    clause = skin.advice(
        ENTRIES[Condition][view.condition].means,
        by=_who(endpoint and endpoint.paused_by, skin),
        due=due and now - due,
        rests=endpoint and endpoint.rest_until and endpoint.rest_until - now,
    )
    failing = None if endpoint is None else endpoint.failing_since
    if failing is None or view.condition not in _TRIED_AGAIN:
        return clause
    return skin.text("%(what)s, failing for %(lasts)s", clause, now - failing)


def next_in_words(following: NextStep, now: datetime, skin: Skin) -> str:
    """A sentence about when an order is polled next."""
    waits = {step.wait for step in following.steps}
    if waits & _NOTHING:
        return skin.text("Nothing happens by itself.")
    if Wait.IN_FLIGHT in waits:
        return skin.text("The answer of a query that includes it.")
    if following.polled_at is None:
        return skin.text("A poll, but when cannot be told.")
    until = skin.moment(following.polled_at, now)
    if following.is_at_the_earliest:
        return skin.text("A poll, at the earliest: %(until)s.", until)
    return skin.text("A poll, as soon as a worker ticks: %(until)s.", until)


def wait_in_words(step: Step, state: AccountState, now: datetime, rules: Rules, skin: Skin) -> str:
    """A sentence about why an order is not polled yet. `state` is its account's state."""
    held = state.pause(now)
    plans = (one for one in state.planned_pauses(now) if one.paused_until == step.until)
    times = [(skin.time(one.paused_at), skin.time(one.ends_at)) for one in plans]
    budget = N_("one query in %(seconds)s s") if rules.slots == 1 else N_("%(slots)s queries in %(seconds)s s")
    return skin.advice(
        message(step.wait),
        until="" if step.until is None else skin.moment(step.until, now),
        paused=pause_in_words(held, skin) if held else "",
        planned=skin.text(TextCode.FROM_UNTIL.value, *times[0]) if times else "",
        budget=skin.advice(budget, slots=rules.slots, seconds=format(rules.spacing_seconds, "g")),
        count=step.count or 0,
        per_query=step.per_query,
    )


def pause_in_words(pause: Pause, skin: Skin) -> str:
    """A clause about a pause of an account: who paused it, since when, until when, and why."""
    until, reason = pause.paused_until, pause.pause_reason
    return skin.text(
        "paused by %(by)s since %(since)s, until %(until)s%(why)s",
        _who(pause.paused_by, skin),
        skin.time(pause.paused_at),
        skin.text("an operator ends it") if until is None else skin.time(until),
        "" if reason is None else skin.text(": %(reason)s", reason),
    )


def _who(name: object, skin: Skin) -> object:
    return name or skin.text("an operator")
