"""How certificates are checked: kombu's options for a broker, the authorities for the platform and for webhooks."""

import ssl

import certifi

from worker.adapters.text_files import os_words
from worker.domain.records.sentences import Sentence, _


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


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """What checks the certificate of a host, and the name in it. Raises OSError.

    `ca_file` is a file of PEM certificates; None: the public authorities of the package certifi. To read them takes
    some 20 ms.
    """
    return ssl.create_default_context(cafile=ca_file or certifi.where())


def authorities_fault(path: str) -> Sentence | None:
    """Why a path names no file of authorities, completing a sentence that begins with its variable; None where it
    does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        return _("holds no certificate that can be read")
    except (OSError, ValueError) as error:
        return _("cannot be read (%(why)s)", os_words(error))
    # A list of revoked certificates can be loaded as well.
    return None if context.cert_store_stats()["x509"] else _("holds no certificate that can be read")
