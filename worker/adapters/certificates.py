"""How certificates are checked: kombu's options for a broker, and the certificate authorities for the platform and for
webhooks."""

import ssl

import certifi

from worker.adapters.text_files import os_words
from worker.domain.records.sentences import Sentence, _


def certified(broker_url: str) -> dict[str, object] | None:
    """The options that make kombu check the broker's certificate and the host name in it; None if the URL is without
    TLS.

    Without these options kombu accepts any certificate from Redis. From RabbitMQ it accepts any valid certificate,
    whatever host it is for.
    """
    if broker_url.startswith("rediss:"):
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if broker_url.startswith("amqps:"):
        # kombu replaces None by the URL's host; py-amqp compares the certificate's name only if it is given a host
        # name.
        return {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED}
    return None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Make the context that checks a host's certificate and the name in it. Raises OSError.

    `ca_file` is a file of PEM certificates; None means the public authorities in the package certifi. Reading the
    public authorities takes about 20 ms.
    """
    return ssl.create_default_context(cafile=ca_file or certifi.where())


def authorities_fault(path: str) -> Sentence | None:
    """Why the file at `path` cannot be used as a file of certificate authorities; None if it can. The reason is worded
    to follow the variable's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        return _("holds no certificate that can be read")
    except (OSError, ValueError) as error:
        return _("cannot be read (%(why)s)", os_words(error))
    # A file with only a list of revoked certificates can be loaded as well, but it contains no authority.
    return None if context.cert_store_stats()["x509"] else _("holds no certificate that can be read")
