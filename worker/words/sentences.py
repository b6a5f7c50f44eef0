"""What is said in sentences: by an event or an act, of what monitoring finds and how an endpoint fares, and of what
happens to an order next."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from worker.domain.notifications.endpoint_watch import Condition, EndpointView, unsent_since
from worker.domain.orders.verdicts import Verdict
from worker.domain.records.accounts import AccountState, Pause, Rules
from worker.domain.records.coded_texts import CodedText, TextCode, worded
from worker.domain.records.orders import Attention, OrderState, Source
from worker.domain.records.watching import BackOffReason, Finding, FindingKind
from worker.domain.watching.next_step import NextStep, Step, Wait
from worker.words import N_, Skin
from worker.words.catalogue import ENTRIES, FINDINGS, SAID, message, name, name_of

_NAMES: Mapping[str, type[StrEnum]] = MappingProxyType(
    {"state": OrderState, "attention": Attention, "raised": Attention, "shown": Attention, "by": Source}
)
"""By the name of a value of an event, which of our names it holds."""
_WHO = (N_("the platform"), N_("a query"), N_("a callback"))
"""What `who` may be."""
_TIMES = ("time", "until")
_JOINED = (
    *(N_("%(what)s; accepted: %(rule)s"), N_("%(what)s (%(why)s): %(do)s"), N_("RECONCILER_%(name)s %(fault)s")),
    *(N_("%(what)s: %(reason)s"), N_("%(what)s (%(why)s)")),
)
"""How two parts of a sentence are joined."""
_LONGEST = 2_000
_MOST_PARTS = 100
"""A longer sentence, or further parts of one, are shown as they are: they quote what others have written."""
_TRIED_AGAIN = (Condition.IN_DOUBT, Condition.RESTING, Condition.FAILING)
_NOTHING = {Wait.FINAL, Wait.CANCELLED, Wait.UNRESOLVED}
DELETED = N_("It was deleted meanwhile.")


def detail_text(detail: str | None, skin: Skin) -> str:
    """A detail by its code; without one, such as the platform's own item, as it is."""
    if not isinstance(detail, CodedText):
        return detail or ""
    names = {name: name_of(_NAMES[name], one, skin) for name, one in detail.values.items() if name in _NAMES}
    names |= {name: skin.translate(one) for name, one in detail.values.items() if one in _WHO}
    return worded(detail.code, {**detail.values, **names, **_times(detail, skin)}, skin.translate)


def sentence_in_words(line: str, skin: Skin) -> str:
    """What a command refuses, what the doctor finds, or what is wrong with input, as it is stored: in words of `skin`;
    itself where another release or another program has written it."""
    return line if len(line) > _LONGEST else _in_words(line, skin, {}) or line


def _in_words(part: str, skin: Skin, parts: dict[str, str | None]) -> str | None:
    """`parts` are those that were tried: several forms have the same ones, and theirs again."""
    if part not in parts and len(parts) < _MOST_PARTS:
        parts[part] = None
        parts[part] = _tried(part, skin, parts)
    return parts.get(part)


def _tried(part: str, skin: Skin, parts: dict[str, str | None]) -> str | None:
    if part in SAID:
        return skin.text(part)
    field, colon, said = part.partition(": ")
    if colon and not field.endswith("; accepted") and (reason := _in_words(said, skin, parts)):
        # An open quote: the colon stands in what others have written.
        named = _in_words(field, skin, parts) or ("" if " " in field or field.count("'") % 2 else field)
        if named:
            return skin.text(N_("%(what)s: %(reason)s"), what=named, reason=reason)
    # A search for its longest text is quick, and leaves few forms to try.
    fitting = ((template, form) for template, (known, form) in _forms().items() if known in part)
    return next(filter(None, (_filled(*one, part, skin, parts) for one in fitting)), None)


def _filled(template: str, form: re.Pattern[str], part: str, skin: Skin, parts: dict[str, str | None]) -> str | None:
    found = form.fullmatch(part)
    known = {} if found is None else {name: _in_words(one, skin, parts) for name, one in found.groupdict().items()}
    if found is None or (template in _JOINED and not any(known.values())):
        return None
    values = {name: said or found[name] for name, said in known.items()}
    names = {name: name_of(_NAMES[name], one, skin) for name, one in values.items() if name in _NAMES}
    return skin.text(template, **{**values, **names})


@cache
def _forms() -> Mapping[str, tuple[str, re.Pattern[str]]]:
    """Of each sentence that has places the longest text between them, and its form; those with the longest text first,
    since others may fit it, too."""
    place = re.compile(r"%\\?\((\w+)\\?\)s")
    known = (*SAID, TextCode.IS_NOT_PENDING.value, *map(message, FindingKind))
    placed = [part for part in known if "%" in part]
    longest_first = sorted(placed, key=lambda part: (-len(place.sub("", part)), part))
    return {
        part: (
            max(place.sub("\0", part).split("\0"), key=len),
            re.compile(place.sub(r"(?P<\1>.+?)", re.escape(part)), re.DOTALL),
        )
        for part in (_JOINED[0], *longest_first, *_JOINED[1:])
    }


def proof_in_words(verdict: Verdict | None, skin: Skin) -> str:
    """What an answer proves about an order, without a full stop; None: the answer leaves the order out."""
    if verdict is None:
        return skin.text(N_("left out of the answer, which proves nothing"))
    proved, reason = name(verdict.effect, skin), detail_text(verdict.reason, skin)
    return skin.text(N_("%(what)s: %(reason)s"), what=proved, reason=reason) if reason else proved


def with_times(detail: str | None, skin: Skin) -> str | None:
    """The same in English, with its times in the zone of the reader, and durations, where it knows its values."""
    return detail.having(**_times(detail, skin)) if isinstance(detail, CodedText) else detail


def _times(detail: CodedText, skin: Skin) -> dict[str, str]:
    values = detail.values
    times = {name: skin.time(datetime.fromisoformat(values[name])) for name in _TIMES if name in values}
    lasts = values.get("lasts")
    return times if lasts is None else {**times, "lasts": skin.duration(float(lasts.removesuffix(" s")))}


def clause_of(finding: Finding, skin: Skin) -> str:
    """What is found, without its account and a full stop."""
    values = dict(finding.values)
    if isinstance(why := values.get("why"), BackOffReason):
        values["why"] = name(why, skin)
    if isinstance(view := values.get("endpoint"), EndpointView):
        values["endpoint"] = endpoint_in_words(view, skin)
    if "by" in values:
        values["by"] = _who(values["by"], skin)
    return skin.text(message(finding.kind), **values)


def finding_in_words(finding: Finding, skin: Skin) -> str:
    """What is found, with its account, without a full stop."""
    clause = clause_of(finding, skin)
    if finding.account is None:
        return clause
    return skin.text(N_("%(account)s: %(what)s"), account=finding.account, what=clause)


def finding_in_sentences(finding: Finding, skin: Skin) -> str:
    """What is found and what follows, without its account."""
    clause = clause_of(finding, skin)
    found = skin.text(N_("%(what)s."), what=clause[:1].upper() + clause[1:])
    return skin.text(N_("%(means)s %(do)s"), means=found, do=skin.advice(FINDINGS[finding.name].do))


def endpoint_in_words(view: EndpointView, skin: Skin) -> str:
    """How an endpoint fares, without a full stop."""
    endpoint, now = view.endpoint, view.now
    due = None if endpoint is None else unsent_since(endpoint, view.count, now)
    clause = skin.text(
        ENTRIES[Condition][view.condition].means,
        by=_who(endpoint and endpoint.paused_by, skin),
        due=due and now - due,
        rests=endpoint and endpoint.rest_until and endpoint.rest_until - now,
    )
    failing = None if endpoint is None else endpoint.failing_since
    if failing is None or view.condition not in _TRIED_AGAIN:
        return clause
    return skin.text(N_("%(what)s, failing for %(lasts)s"), what=clause, lasts=now - failing)


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
    held = state.pause(now)
    plans = (one for one in state.planned_pauses(now) if one.paused_until == step.until)
    times = [{"time": skin.time(one.paused_at), "until": skin.time(one.ends_at)} for one in plans]
    budget = N_("one query in %(seconds)s s") if rules.slots == 1 else N_("%(slots)s queries in %(seconds)s s")
    return skin.advice(
        message(step.wait),
        until="" if step.until is None else skin.moment(step.until, now),
        paused=pause_in_words(held, skin) if held else "",
        planned=skin.text(TextCode.FROM_UNTIL.value, **times[0]) if times else "",
        budget=skin.text(budget, slots=rules.slots, seconds=format(rules.spacing_seconds, "g")),
        count=step.count or 0,
        per_query=step.per_query,
    )


def pause_in_words(pause: Pause, skin: Skin) -> str:
    """Who paused an account, since when, until when and why, as a clause."""
    until, reason = pause.paused_until, pause.pause_reason
    return skin.text(
        N_("paused by %(by)s since %(since)s, until %(until)s%(why)s"),
        by=_who(pause.paused_by, skin),
        since=skin.time(pause.paused_at),
        until=skin.text(N_("an operator ends it")) if until is None else skin.time(until),
        why="" if reason is None else skin.text(N_(": %(reason)s"), reason=reason),
    )


def _who(name: object, skin: Skin) -> object:
    return name or skin.text(N_("an operator"))
