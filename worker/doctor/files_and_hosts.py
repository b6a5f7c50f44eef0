"""The findings about this host: the folder, the file of users, certificates, and the hosts that are to be reached."""

import os
from collections.abc import Callable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from urllib.parse import urlsplit

from worker.adapters.certificates import authorities_fault, platform_authorities
from worker.adapters.safe_text import first_words
from worker.adapters.users_file import mode_fault, read_users
from worker.doctor.finding import Check, fatal, ok, warning
from worker.domain.records.notifications import EndpointSettings, Webhook
from worker.settings import Settings

_OURS = "celery_settings.py"
"""A module of this package, so that a checkout of it shadows nothing."""


def shadow() -> Check | None:
    """The finding that a `worker.py` or `worker/` of the current folder stands before this package; None without."""
    spec = PathFinder.find_spec("worker", [os.getcwd()])
    # A folder without __init__.py has no origin, and comes after every package.
    if spec is None or spec.origin is None or Path(spec.origin).with_name(_OURS).exists():
        return None
    return fatal(
        "working_folder",
        f"celery -A worker loads {spec.origin} here, and not this program",
        "rename it, or start in another folder",
    )


def console_check(users_file: Path | None) -> Check:
    """Who opens it: people who sign in, or who have the key that `serve` prints."""
    if users_file is None:
        return ok("console", "no file of users: it opens by the address with a key that `reconciler serve` prints")
    try:
        users, fault = read_users(users_file), mode_fault(users_file)
    except ValueError as error:
        return warning("console", f"no user can sign in: {error}", "correct the file of RECONCILER_USERS_FILE")
    if not users:
        return warning("console", f"no user can sign in: {users_file} has none", "add one with `reconciler user add`")
    if fault:
        detail, _, remedy = fault.rpartition(": ")
        return warning("console", detail, remedy)
    return ok("console", f"everybody signs in: {'1 user' if len(users) == 1 else f'{len(users)} users'}")


def host_check(host: str, resolve: Callable[[], str]) -> Check:
    """Whether the platform's host has an address; `resolve` gives one, or raises as a resolver does."""
    words, has_address = _address_of(host, resolve)
    if has_address:
        return ok("platform_host", words)
    remedy = "see that RECONCILER_PLATFORM_URL is right, and that this host resolves names"
    return warning("platform_host", words, remedy)


def certificates_checks(settings: Settings) -> list[Check]:
    """Whether an https platform's certificate can be checked."""
    if not settings.platform_url.startswith("https:"):
        return []
    authorities = platform_authorities(settings.platform_ca_file, os.environ)
    if authorities.path is None:
        return [ok("platform_certificate", "checked by the public authorities")]
    fault = authorities_fault(authorities.path)
    if fault is None:
        named = f"{authorities.path} ({authorities.named_by})"
        return [ok("platform_certificate", f"checked by the authorities in {named}")]
    remedy = f"let {authorities.named_by} name a file of certificates in PEM form, or unset it"
    return [fatal("platform_certificate", f"{authorities.named_by} {fault} ({authorities.path})", remedy)]


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
        return [ok("notify_endpoint", f"{account}: {target.shown}")]
    host = urlsplit(target.url).hostname or ""
    words, has_address = _address_of(host, addresses[host])
    if has_address:
        found = ok("notify_endpoint", f"{account}: {target.shown}: {words}; {_secrets(target)}")
    else:
        remedy = "see that the URL is right, and that this host resolves names"
        found = warning("notify_endpoint", f"{account}: {words}", remedy)
    if target.url.startswith("https:") or not target.allow_http:
        return [found]
    open_to_all = f"{account}: {target.shown} is http, and the network on the way can read every phone number"
    return [found, warning("notify_endpoint", open_to_all, "use https, unless the network is yours alone")]


def _secrets(target: Webhook) -> str:
    if len(target.secrets) == 1:
        return "one secret signs"
    return "two secrets sign: take the old one out once the receiver knows the new one"


def _address_of(host: str, resolve: Callable[[], str]) -> tuple[str, bool]:
    """A host with its address, or with why it has none; and whether it has one."""
    try:
        address = resolve()
    except (OSError, UnicodeError) as error:
        return f"{host} cannot be resolved ({first_words(error)})", False
    return f"{host} is an address" if address == host else f"{host} has the address {address}", True
