"""Check the settings that are URLs, and normalise them to the form that the rest of the program expects.

A function with the name of a setting takes the setting's text and returns it normalised. Errors are ValueErrors, worded
to follow "RECONCILER_... ". They quote no part of the URL, because a password may be anywhere in a malformed URL.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, ip_address
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from worker.domain.records.sentences import Fault, _

DATABASE_RULE = _(
    "postgresql://USER:PASSWORD@HOST/NAME, mariadb://... or mysql://... (utf8mb4), sqlite:///FILE;"
    " special characters in the password percent-encoded"
)
BROKER_RULE = _(
    "redis://HOST:PORT/DB, rediss://..., redis+socket://PATH, amqp://USER:PASSWORD@HOST/VHOST or amqps://..."
)
RESULT_RULE = _("redis://HOST:PORT/DB, rediss://..., redis+socket://PATH or rpc://; or not set")
PLATFORM_RULE = _(
    "http://HOST or https://HOST, with a port and a path where needed; no user, password, query or fragment"
)

# Maps each accepted scheme to a driver that this project installs. Other drivers for these databases, such as psycopg2
# and mysqlclient, are not accepted, because they would behave differently.
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "mariadb+pymysql": "mariadb+pymysql",
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
}
_BROKERS = frozenset({"redis", "rediss", "redis+socket", "amqp", "amqps"})
_RESULT_BACKENDS = frozenset({"redis", "rediss", "redis+socket", "rpc"})

# Matches URLs as SQLAlchemy reads them: a password may contain anything except `@`. SQLAlchemy's own function is not
# used, because only worker/database may import SQLAlchemy.
_DATABASE_URL = re.compile(
    r"(?P<scheme>[a-z0-9+]+)://(?:[^:/@]*(?::[^@]*)?@)?(?:\[[^\]/?]+\]|[^/:?@\[\]]*)(?::[0-9]+)?"
    r"(?:/(?P<name>[^?]*))?(?:\?(?P<query>.*))?"
)
_PASSWORD = re.compile(r"[a-z0-9+]+://[^:/@]*:([^@]*)@")
_NEXT_URL = re.compile(r";(?=[a-z0-9+]+://)")
_CONTROLS = re.compile("[\x00-\x1f\x7f]")
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~%-]*)*")
_LOOPBACK = IPv4Network("127.0.0.0/8")


def database_url(text: str) -> str:
    """The URL of a database for SQLAlchemy, which names the driver: psycopg 3, PyMySQL or Python's for SQLite.

    With PyMySQL the URL also sets the charset utf8mb4.
    """
    parts = _DATABASE_URL.fullmatch(text)
    if parts is None or _CONTROLS.search(text):
        raise Fault("is not a database URL")
    driver = _DRIVERS.get(parts["scheme"])
    if driver is None:
        raise Fault("names a database or a driver that is not supported")
    query = parse_qs(parts["query"] or "", keep_blank_values=True)
    url = driver + text.removeprefix(parts["scheme"])
    if driver == "sqlite":
        _refuse_memory(parts["name"] or "", query)
    elif driver.endswith("+pymysql"):
        return _with_full_unicode(url, parts["name"] or "", query)
    return url


def broker_url(text: str) -> str:
    """The URL of a broker, or several URLs joined by semicolons. kombu tries these one after the other."""
    for part in _NEXT_URL.split(text):
        if split_url(part).scheme not in _BROKERS:
            raise Fault("names a broker that is not supported")
    return text


def result_backend(text: str) -> str:
    """The URL of a Celery result backend."""
    if split_url(text).scheme not in _RESULT_BACKENDS:
        raise Fault("names a result backend that is not supported")
    return text


def platform_url(text: str) -> str:
    """The platform's base URL without a slash at its end."""
    parts = http_parts(text)
    if "?" in text or "#" in text:
        raise Fault("holds a query or a fragment")
    if not _PATH.fullmatch(parts.path):
        raise Fault("has a path with characters that do not belong in one")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def http_parts(text: str) -> SplitResult:
    """The parts of an http or https URL with a host, and without user and password. Raises `Fault`."""
    parts = split_url(text)
    if parts.scheme not in {"http", "https"}:
        raise Fault("is neither an http nor an https URL")
    if "@" in parts.netloc:
        raise Fault("holds a user name or a password")
    if not _is_host(parts.hostname):
        raise Fault("has no valid host")
    return parts


def of_form(form: re.Pattern[str], text: str) -> str:
    """Check that a text has this form, and return it. Raises `Fault`."""
    if not form.fullmatch(text):
        fault = _("has characters that are not accepted, or too many") if text else _("is empty")
        raise Fault("%(why)s", fault)
    return text


def is_loopback(url: str) -> bool:
    """Whether a URL's host is certainly this machine: `localhost`, 127.0.0.0/8 or ::1.

    Any other host counts as another machine, even `127.1`, or a name that resolves to loopback today. If such a host is
    this machine, the only harm is that a program refuses to start. The opposite mistake would break the query limit of
    the real platform.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address == IPv6Address("::1") or address in _LOOPBACK


def passwords(url: str) -> Iterator[str]:
    """Each password in a URL, or in several URLs joined by semicolons: once as written, and once percent-decoded."""
    for part in _NEXT_URL.split(url):
        found = _PASSWORD.match(part)
        if found and found[1]:
            yield found[1]
            yield unquote(found[1])


def split_url(text: str) -> SplitResult:
    """The parts of a URL of printable ASCII. Raises `Fault` for any other text."""
    # Refuse white space here: urlsplit silently drops line ends and tabs, so it would check another text than the one
    # that is used.
    if not text.isascii() or any(character <= " " or character in '\\"<>\x7f' for character in text):
        raise Fault("contains white space or a character that does not belong in a URL")
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError if the port is not a number
    except ValueError:
        raise Fault("is not a URL") from None
    if "://" not in text:
        raise Fault("is not a URL")
    return parts


def _is_host(name: str | None) -> bool:
    """Whether the host part of a URL is valid: a name, an IPv4 or an IPv6 address."""
    return bool(name) and bool(_HOST_NAME.fullmatch(name or "") or _is_ipv6(name or ""))


def _refuse_memory(name: str, query: dict[str, list[str]]) -> None:
    if name in {"", ":memory:"} or name.startswith("file::memory:") or "memory" in query.get("mode", []):
        # Each process would have its own database in memory, and a restart would lose the time of the last query.
        raise Fault("is a database in memory, which no two processes share and which is lost with its process")


def _with_full_unicode(url: str, name: str, query: dict[str, list[str]]) -> str:
    if not name:
        raise Fault("names no database after the host")
    if query.get("charset", ["utf8mb4"]) != ["utf8mb4"]:
        raise Fault("asks for a charset other than utf8mb4, which cannot hold every remark of the platform")
    if "charset" in query:
        return url
    return f"{url}{'&' if query else '?'}charset=utf8mb4"


def _is_ipv6(host: str) -> bool:
    try:
        return isinstance(ip_address(host), IPv6Address)
    except ValueError:
        return False
