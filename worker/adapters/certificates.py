"""How certificates are checked: kombu's options for a broker, the authorities for the platform and for webhooks."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import certifi

from worker.adapters.text_files import os_words
from worker.domain.records.sentences import Sentence, _

_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def certified(broker_url: str) -> dict[str, object] | None:
    """The options by which kombu checks the certificate and the name in it; None where the URL is without TLS.

    By default kombu accepts any certificate of a Redis, and of a RabbitMQ a valid one for any name.
    """
    if broker_url.startswith("rediss:"):
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if broker_url.startswith("amqps:"):
        # For None kombu fills in the URL's host; py-amqp compares a name where it is given one.
        return {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED}
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Authorities:
    """The certificate authorities for an https platform."""

    path: str | None
    """A file of PEM certificates, or a folder as `openssl rehash` makes it; None: those of the package certifi."""
    named_by: str | None
    """The variable that names it."""


def platform_authorities(ca_file: str | None, environ: Mapping[str, str]) -> Authorities:
    """The authorities to use: the file of our own setting, or else what REQUESTS_CA_BUNDLE or SSL_CERT_FILE names.

    They replace those of certifi, as in other programs that read these two variables. Empty counts as not set.
    """
    named = {"RECONCILER_PLATFORM_CA_FILE": ca_file} | {name: environ.get(name) for name in _VARIABLES}
    name, path = next(((name, path) for name, path in named.items() if path), (None, None))
    return Authorities(path=path, named_by=name)


def tls_context(path: str | None) -> ssl.SSLContext:
    """What checks the certificate of a host, and the name in it, by `Authorities.path`. Raises OSError.

    To read the authorities takes some 20 ms.
    """
    path = path or certifi.where()
    if os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def authorities_file_fault(path: str) -> Sentence | None:
    """`authorities_fault`, where only a file is accepted."""
    return _("is a folder") if os.path.isdir(path) else authorities_fault(path)


def authorities_fault(path: str) -> Sentence | None:
    """Why a path names no authorities, completing a sentence that begins with its variable; None where it does.

    A folder is not read here: OpenSSL reads it by name when it checks a certificate.
    """
    if os.path.isdir(path):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        return _("holds no certificate that can be read")
    except (OSError, ValueError) as error:
        return _("cannot be read (%(why)s)", os_words(error))
    # A list of revoked certificates can be loaded as well.
    return None if context.cert_store_stats()["x509"] else _("holds no certificate that can be read")
