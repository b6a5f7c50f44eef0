"""The findings about endpoints of notifications: whether their hosts have addresses, and whether others can read."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from worker.adapters.error_text import first_words
from worker.doctor.checks import Check, ok, warning
from worker.domain.records.notifications import EndpointSettings, Webhook

_NAME = "notify_endpoint"


def hosts_of(endpoints: Mapping[str, EndpointSettings]) -> set[str]:
    """The hosts of all receivers, each once."""
    targets = (one.target for one in endpoints.values())
    return {urlsplit(target.url).hostname or "" for target in targets if isinstance(target, Webhook)}


def endpoint_checks(
    endpoints: Mapping[str, EndpointSettings], addresses: Mapping[str, Callable[[], str]]
) -> list[Check]:
    """A finding for each endpoint or more. `addresses` gives an address of each host, or raises as a resolver does.

    That secrets are well-formed was checked with the settings. Nothing is sent.
    """
    return [check for one in endpoints.values() for check in _checks(one, addresses)]


def _checks(endpoint: EndpointSettings, addresses: Mapping[str, Callable[[], str]]) -> list[Check]:
    target, account = endpoint.target, endpoint.account
    if not isinstance(target, Webhook):
        return [ok(_NAME, f"{account}: {target.shown}")]
    host = urlsplit(target.url).hostname or ""
    try:
        address = addresses[host]()
    except (OSError, UnicodeError) as error:
        remedy = "see that the URL is right, and that this host resolves names"
        found = warning(_NAME, f"{account}: {host} cannot be resolved ({first_words(error)})", remedy)
    else:
        where = "is an address" if address == host else f"has the address {address}"
        found = ok(_NAME, f"{account}: {target.shown}: {host} {where}; {_secrets(target)}")
    if target.url.startswith("https:") or not target.allow_http:
        return [found]
    open_to_all = f"{account}: {target.shown} is http, and whoever is on the way reads every phone number"
    return [found, warning(_NAME, open_to_all, "use https, unless the network is yours alone")]


def _secrets(target: Webhook) -> str:
    if len(target.secrets) == 1:
        return "one secret signs"
    return "two secrets sign: take the old one out once the receiver knows the new one"
