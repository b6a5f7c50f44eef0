"""What becomes of an endpoint when a worker starts with its settings, and when an operator acts on it."""

from dataclasses import replace

from worker.domain.records.acts import Act
from worker.domain.records.notifications import Endpoint, EndpointSettings


def enter(known: Endpoint | None, given: EndpointSettings) -> Endpoint:
    """The endpoint as a worker with these settings knows it.

    Another target starts fresh: what the last one did says nothing of it. A pause stays, an operator ends it.
    """
    entered = given.as_endpoint()
    if known is None:
        return entered
    if is_another_target(known, given):
        return replace(entered, paused_at=known.paused_at, paused_by=known.paused_by)
    return replace(known, shown=entered.shown, events=entered.events)


def is_another_target(known: Endpoint | None, given: EndpointSettings) -> bool:
    """Whether what is pending for an account goes to another place from now on."""
    return known is not None and known.target_digest != given.target.digest


def pause_endpoint(endpoint: Endpoint, act: Act) -> Endpoint:
    """Send nothing to it until somebody resumes it. What happens meanwhile waits."""
    return replace(endpoint, paused_at=act.now, paused_by=act.actor)


def resume_endpoint(endpoint: Endpoint) -> Endpoint:
    """Send to it again at once, whatever it did before: after a pause, after it answered 410, out of a rest."""
    return replace(
        endpoint,
        rest_level=0,
        rest_from=None,
        rest_until=None,
        failing_since=None,
        failed_in_row=None,
        last_failed_id=None,
        stopped_at=None,
        paused_at=None,
        paused_by=None,
    )
