"""The sentences that events and refusals hold in English, in the language of the request.

The tables keep them as they are: the command line and a search show the same text in every language. What no sentence
here knows, such as an operator's reason or the platform's own item, is shown as it is.
"""

import re
from enum import Enum

from flask import Blueprint

from worker.domain.records.orders import Attention, OrderState, Source
from worker.web.console.languages import text, word
from worker.words import N_

_NAMES: dict[str, Enum] = {one.value: one for kind in (Attention, OrderState) for one in kind}
_SOURCES: dict[str, Enum] = {one.value: one for one in Source}
_ATTENTION = re.compile(f"(?:{'|'.join(Attention)})(?=: |$)")
_PART = "(?:by [a-z]+|(?:charged|price) [0-9.]+|[a-z_]+)"
_WAS = re.compile(rf"was ({_PART}(?:, {_PART})*)(?=: |$)")
_ORDER = re.compile(r"order (\S+): ")
_SENTENCES = tuple(
    # Each place becomes a group of the same name, which takes what stands there in the stored text.
    (re.compile(re.sub(r"%\\?\((\w+)\\?\)s", r"(?P<\1>.+?)", re.escape(message)) + "(?=[:,;] |$)"), message)
    for message in (
        N_("left out of %(count)s answers in a row"),
        N_("left out, and the last %(count)s batches were answered with one item only"),
        N_("polled alone, left out %(count)s times in a row"),
        N_("the platform denied it %(count)s times, the first time at %(time)s"),
        N_("still pending %(count)s windows past the age limit"),
        N_("its group was answered"),
        N_("the platform answers again: its failures said nothing of single orders"),
        N_("the platform refused the batch"),
        N_("malformed, timeout or an HTTP status: perhaps the batch's fault"),
        N_("HTTP 401, 429 or 503: hardly the batch's fault"),
        N_("the order is no longer this query's"),
        N_("mobile %(mobile)s cannot be the order's"),
        N_("charged %(charged)s, expected %(expected)s"),
        N_("charged %(charged)s for a failed order"),
        N_("-1 without evidence that the platform knows the order"),
        N_("-1 that says there is no such order"),
        N_("a success without an amount: poll for it"),
        N_("%(count)s items for one id that differ"),
        N_("has changed meanwhile"),
        N_("is %(state)s by now"),
        N_("ended a back-off until %(time)s; the platform asked to wait until %(until)s"),
        N_("ended a back-off until %(time)s"),
        N_("is pending already"),
        N_("is pending, there is no result to send"),
        N_("has no attention to dismiss"),
        N_("there is no order %(number)s"),
        N_("its account %(account)s has no endpoint; set where its notifications go, and start a worker"),
        N_(
            "its endpoint does not take %(event)s; RECONCILER_NOTIFY_EVENTS, or notify_events of its account, says"
            " which types it takes"
        ),
    )
)


def stored_text(stored: str | None) -> str:
    """A stored sentence in the language of the request; empty for None."""
    if not stored:
        return ""
    if order := _ORDER.match(stored):
        return text(N_("order %(number)s: "), number=order[1]) + stored_text(stored[order.end() :])
    if attention := _ATTENTION.match(stored):
        rest = stored[attention.end() :]
        return word(_NAMES[attention[0]]) + (f": {stored_text(rest[2:])}" if rest else "")
    if was := _WAS.match(stored):
        parts = ", ".join(_part(one) for one in was[1].split(", "))
        return text(N_("was %(parts)s"), parts=parts) + stored[was.end() :]
    for pattern, message in _SENTENCES:
        if found := pattern.match(stored):
            places = {name: _named(value) for name, value in found.groupdict().items()}
            return text(message, **places) + stored[found.end() :]
    return stored


def _part(part: str) -> str:
    """A part of what an operator's act has replaced: a state, a reason, a source or an amount."""
    if part.startswith("charged "):
        return text(N_("charged %(amount)s"), amount=part.removeprefix("charged "))
    if part.startswith("price "):
        return text(N_("price %(amount)s"), amount=part.removeprefix("price "))
    if (source := part.removeprefix("by ")) in _SOURCES:
        return word(_SOURCES[source])
    return _named(part)


def _named(value: str) -> str:
    """A state or a reason in the language of the request; any other value as it is."""
    return word(_NAMES[value]) if value in _NAMES else value


def add_stored_texts(routes: Blueprint) -> None:
    """Make the sentences known to templates, as the filter `stored`."""
    routes.add_app_template_filter(stored_text, "stored")
