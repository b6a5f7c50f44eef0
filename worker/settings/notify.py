"""Check the settings for an account's notifications.

For the account `default` the settings are variables. For any other account they are keys of its table in the accounts
file. Errors are `Fault`s, as in `worker.settings.addresses`: they are worded to follow "RECONCILER_... ", and quote no
part of a URL or a secret.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from worker.adapters.certificates import authorities_fault
from worker.domain.records.notifications import CeleryTask, EndpointSettings, EventType, Webhook
from worker.domain.records.sentences import Fault, Sentence, _
from worker.settings import addresses

URL_RULE = _("https://HOST/PATH, no user, password or fragment; http:// on this machine, or where HTTP is allowed")
SECRET_RULE = _(
    "whsec_ and the padded base64 of 24 to 64 bytes; two of these with a blank between them, while one is changed"
)
TASK_RULE = _(
    "the name of a Celery task, 1 to 200 of letters, digits, `_`, `-`, `.`, `:`; none that begins with reconciler."
)
QUEUE_RULE = _(
    "the name of a queue, 1 to 200 of letters, digits, `_`, `-`, `.`, `:`; none that begins with reconciler."
)
EVENTS_RULE = _("some of %(names)s, separated by commas; or not set, which is all of them", ", ".join(EventType))

SECRET_KEYS: Mapping[str, str] = {
    "notify_url": "https://stand.in",
    "notify_secret": "whsec_" + base64.b64encode(bytes(24)).decode(),
    "notify_broker_url": "redis://stand.in",
}
"""The settings whose value may be in a separate file. Each is mapped to a placeholder value that passes the checks."""
OUR_PREFIX = "reconciler."
"""The start of the name of each of the worker's own tasks and queues."""
DEFAULT_QUEUE = "celery"
"""Celery's own default queue."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_SECRET = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64
# From this length on, logs hide the path of a URL wherever it appears. A shorter path is hidden only as part of the
# URL, because the path may be a word that logs need.
_LONG_PATH = 16


def webhook_url(text: str) -> str:
    """Check a receiver's http or https URL, and return it. Raises `Fault`."""
    addresses.http_parts(text)
    if "#" in text:
        raise Fault("holds a fragment")
    return text


def webhook_secret(text: str) -> str:
    """Check one or two secrets, and return them with one blank between them. Raises `Fault`."""
    words = text.split()
    if len(words) not in (1, 2):
        raise Fault("is neither one secret nor two with a blank between them")
    for word in words:
        if not word.startswith(_SECRET):
            raise Fault("holds a secret that does not begin with %(start)s", _SECRET)
        try:
            key = base64.b64decode(word.removeprefix(_SECRET), validate=True)
        except (binascii.Error, ValueError):
            raise Fault("holds a secret that is not padded base64 after %(start)s", _SECRET) from None
        if not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
            raise Fault(
                "holds a secret of fewer than %(least)s or more than %(most)s bytes", _FEWEST_BYTES, _MOST_BYTES
            )
    return " ".join(words)


def task_name(text: str) -> str:
    """Check the name of a task or a queue, and return it. Raises `Fault`."""
    if text.startswith(OUR_PREFIX):
        raise Fault("begins with %(start)s, as the worker's own do", OUR_PREFIX)
    return addresses.of_form(_NAME, text)


def event_types(text: str) -> str:
    """Check types of events, and return them joined by commas without blanks. Raises `Fault`."""
    words = [word.strip() for word in text.split(",")]
    if not set(words) <= set(EventType):
        raise Fault("names an event that there is not")
    return ",".join(dict.fromkeys(words))


def ca_file(path: str) -> str:
    """Check a file of certificates, and return its path. Raises `Fault`."""
    if fault := authorities_fault(path):
        raise Fault("%(why)s", fault)
    return path


def combination_fault(key: str, given: Mapping[str, Any], shown: Callable[[str], str]) -> Sentence | None:
    """Why the setting `key` conflicts with settings before it; None if it does not.

    `given` has the plain values of this setting and of the settings before it, except values that are wrong by
    themselves. `shown` returns the name under which people know the setting of a key.
    """
    to_url, to_task = given.get("notify_url"), given.get("notify_task")
    is_set = bool(given.get(key))
    if key == "notify_url" and to_url and given.get("notify_allow_http") is False and _is_open(to_url):
        return _(
            "is an http URL beyond this machine, which anybody on the way can read: use https, or set"
            " %(name)s to true where the network is yours",
            shown("notify_allow_http"),
        )
    if key == "notify_secret" and "notify_url" in given and is_set is not bool(to_url):
        if is_set:
            return _("is set, though %(name)s is not: every request is signed with it", shown("notify_url"))
        return _("is not set, though %(name)s is: every request is signed with it", shown("notify_url"))
    if key == "notify_task" and to_task and to_url:
        return _("is set, and so is %(name)s: keep one of the two", shown("notify_url"))
    if key in ("notify_queue", "notify_broker_url") and is_set and "notify_task" in given and not to_task:
        return _("is set, though %(name)s is not", shown("notify_task"))
    if key == "notify_ca_file" and is_set and "notify_url" in given and not to_url:
        return _("is set, though %(name)s is not", shown("notify_url"))
    if key == "notify_events" and is_set and {"notify_url", "notify_task"} <= given.keys() and not (to_url or to_task):
        return _("is set, though neither %(name)s nor %(other)s is", shown("notify_url"), shown("notify_task"))
    return None


def endpoint_of(account: str, values: Mapping[str, Any]) -> EndpointSettings | None:
    """An account's endpoint, from checked values of settings; None if the account has no endpoint."""
    wanted = values.get("notify_events")
    types = tuple(EventType(word) for word in event_types(wanted).split(",")) if wanted else ()
    if to_url := values.get("notify_url"):
        target: Webhook | CeleryTask = Webhook(
            url=to_url,
            secrets=tuple(values["notify_secret"].split()),
            allow_http=bool(values.get("notify_allow_http")),
            ca_file=values.get("notify_ca_file"),
        )
    elif to_task := values.get("notify_task"):
        target = CeleryTask(
            task=to_task,
            queue=values.get("notify_queue") or DEFAULT_QUEUE,
            broker_url=values.get("notify_broker_url"),
        )
    else:
        return None
    return EndpointSettings(account=account, target=target, events=types)


def hidden_texts(endpoint: EndpointSettings) -> Iterator[str]:
    """The texts of an endpoint that no log may show: secrets, passwords, and a URL that has a path."""
    target = endpoint.target
    if isinstance(target, CeleryTask):
        yield from addresses.passwords(target.broker_url or "")
        return
    for word in target.secrets:
        yield word
        yield word.removeprefix(_SECRET)
    path = target.url.removeprefix(target.shown)
    if path.strip("/"):
        yield target.url
        if len(path) >= _LONG_PATH:
            yield path


def _switch(value: object) -> object:
    if not isinstance(value, bool):
        raise Fault("is neither true nor false")
    return value


CHECKS: Mapping[str, Callable[[Any], object]] = {
    "notify_allow_http": _switch,
    "notify_url": webhook_url,
    "notify_secret": webhook_secret,
    "notify_task": task_name,
    "notify_queue": task_name,
    "notify_broker_url": addresses.broker_url,
    "notify_events": event_types,
    "notify_ca_file": ca_file,
}
"""Maps the settings of an endpoint, by their keys in an account's table, to their checks.

The settings are checked in this order.
"""


def _is_open(text: str) -> bool:
    return text.startswith("http:") and not addresses.is_loopback(text)
