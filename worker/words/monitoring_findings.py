"""What monitoring reports, and how an endpoint fares, in words."""

from worker.domain.notifications.endpoint_watch import Condition, EndpointView, unsent_since
from worker.domain.records.monitoring_findings import BackOffReason, Finding
from worker.words import N_, Skin
from worker.words.catalogue import ENTRIES, FINDINGS, message, name

_TRIED_AGAIN = (Condition.IN_DOUBT, Condition.RESTING, Condition.FAILING)


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
    return f"{found} {skin.advice(FINDINGS[finding.name].do)}"


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


def _who(name: object, skin: Skin) -> object:
    return name or skin.text(N_("an operator"))
