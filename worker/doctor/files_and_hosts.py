"""Check this host: the working folder, the file of users, and the names of the hosts to be reached."""

import os
from collections.abc import Callable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from urllib.parse import urlsplit

from worker.adapters.safe_text import first_words
from worker.adapters.users_file import mode_fault, read_users
from worker.doctor.finding import Check, fatal, ok, warning
from worker.domain.records.notifications import EndpointSettings, Webhook
from worker.domain.records.sentences import Fault, Sentence, _

_OURS = "celery_settings.py"
"""A module of this package. If a folder `worker/` contains it, the folder is this package and does not shadow it."""


def shadow() -> Check | None:
    """The finding that a `worker.py` or `worker/` in the current folder shadows this package; None if none does."""
    spec = PathFinder.find_spec("worker", [os.getcwd()])
    # A folder without __init__.py has no origin. It does not shadow this package, because Python prefers any package
    # that has an __init__.py.
    if spec is None or spec.origin is None or Path(spec.origin).with_name(_OURS).exists():
        return None
    detail = _("celery -A worker loads %(path)s here, and not this program", spec.origin)
    return fatal("working_folder", detail, _("rename it, or start in another folder"))


def console_check(users_file: Path | None) -> Check:
    """Report who can open the console: people who sign in, or those who have the key that `serve` prints."""
    if users_file is None:
        return ok("console", "no file of users: it opens by the address with a key that `reconciler serve` prints")
    try:
        users, fault = read_users(users_file), mode_fault(users_file)
    except Fault as wrong:
        detail = _("no user can sign in: %(why)s", wrong.sentence)
        return warning("console", detail, _("correct the file of RECONCILER_USERS_FILE"))
    if not users:
        detail = _("no user can sign in: %(path)s has none", users_file)
        return warning("console", detail, _("add one with `reconciler user add`"))
    if fault:
        return warning("console", *fault.parts)
    if len(users) == 1:
        return ok("console", "everybody signs in: 1 user")
    return ok("console", "everybody signs in: %(count)s users", len(users))


def host_check(host: str, resolve: Callable[[], str]) -> Check:
    """Check whether the platform's host has an address. `resolve` returns the address, or raises a resolver's error."""
    words, has_address = _address_of(host, resolve)
    if has_address:
        return ok("platform_host", "%(host)s", words)
    remedy = _("see that RECONCILER_PLATFORM_URL is right, and that this host resolves names")
    return warning("platform_host", words, remedy)


def hosts_of(endpoints: Mapping[str, EndpointSettings]) -> set[str]:
    """The hosts of all receivers of notifications over HTTP, each once."""
    targets = (one.target for one in endpoints.values())
    return {urlsplit(target.url).hostname or "" for target in targets if isinstance(target, Webhook)}


def endpoint_checks(
    endpoints: Mapping[str, EndpointSettings], addresses: Mapping[str, Callable[[], str]]
) -> list[Check]:
    """Check the endpoints of notifications, and return one or more findings for each endpoint. Nothing is sent.

    `addresses` has a function for each host. The function returns the host's address, or raises a resolver's error. The
    form of the secrets is not checked here: it was checked when the settings were read.
    """
    return [check for one in endpoints.values() for check in _checks(one, addresses)]


def _checks(endpoint: EndpointSettings, addresses: Mapping[str, Callable[[], str]]) -> list[Check]:
    target, account = endpoint.target, endpoint.account
    if not isinstance(target, Webhook):
        return [ok("notify_endpoint", "%(account)s: %(url)s", account, target.shown)]
    host = urlsplit(target.url).hostname or ""
    words, has_address = _address_of(host, addresses[host])
    if has_address:
        secrets = _secrets(target)
        found = ok("notify_endpoint", "%(name)s: %(url)s: %(host)s; %(secrets)s", account, target.shown, words, secrets)
    else:
        remedy = _("see that the URL is right, and that this host resolves names")
        found = warning("notify_endpoint", _("%(account)s: %(what)s", account, words), remedy)
    if target.url.startswith("https:") or not target.allow_http:
        return [found]
    remedy = _("use https, unless the network is yours alone")
    is_open = _("%(url)s is http, and the network on the way can read every phone number", target.shown)
    return [found, warning("notify_endpoint", _("%(account)s: %(what)s", account, is_open), remedy)]


def _secrets(target: Webhook) -> Sentence:
    if len(target.secrets) == 1:
        return _("one secret signs")
    return _("two secrets sign: take the old one out once the receiver knows the new one")


def _address_of(host: str, resolve: Callable[[], str]) -> tuple[Sentence, bool]:
    """A sentence with a host's address, or with the reason why it has none; and whether the host has an address."""
    try:
        address = resolve()
    except (OSError, UnicodeError) as error:
        return _("%(host)s cannot be resolved (%(why)s)", host, first_words(error)), False
    if address == host:
        return _("%(host)s is an address", host), True
    return _("%(host)s has the address %(address)s", host, address), True
