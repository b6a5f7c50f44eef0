"""What kombu must be told, so that it looks at a broker's certificate."""

import ssl


def certified(broker_url: str) -> dict[str, object] | None:
    """The options by which it checks the certificate and the name in it; None where the URL asks for no TLS.

    Left alone, kombu takes whatever certificate a Redis shows, and of a RabbitMQ a valid one for any name.
    """
    if broker_url.startswith("rediss:"):
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if broker_url.startswith("amqps:"):
        # For None kombu fills in the URL's host; py-amqp compares a name where it is given one.
        return {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED}
    return None
