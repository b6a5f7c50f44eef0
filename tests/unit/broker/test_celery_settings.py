"""Settings of Celery that no run would show."""

import ssl

import pytest
from kombu import Connection

from worker.broker.celery_settings import celery_settings
from worker.settings import Settings


def settings_for(broker_url: str) -> dict[str, object]:
    return celery_settings(Settings(broker_url=broker_url))


def test_the_certificate_of_a_redis_is_checked() -> None:
    # Without the setting, kombu would accept any certificate.
    assert Connection("rediss://broker.example:6380/0").ssl == {"ssl_cert_reqs": ssl.CERT_NONE}
    tls = settings_for("rediss://broker.example:6380/0")["broker_use_ssl"]
    assert Connection("rediss://broker.example:6380/0", ssl=tls).ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_the_certificate_of_a_rabbitmq_is_checked_and_the_name_in_it() -> None:
    tls = settings_for("amqps://broker.example//")["broker_use_ssl"]
    # None stands for the host in the URL; without the key no name would be compared.
    assert tls == {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED}


@pytest.mark.parametrize("url", ["redis://127.0.0.1/0", "amqp://127.0.0.1//"])
def test_brokers_without_tls_get_no_tls_settings(url: str) -> None:
    assert settings_for(url)["broker_use_ssl"] is None


def test_nothing_but_json_is_accepted_or_sent() -> None:
    settings = settings_for("redis://127.0.0.1/0")
    assert settings["accept_content"] == settings["result_accept_content"] == ["json"]
    assert {settings[f"{kind}_serializer"] for kind in ("task", "result", "event")} == {"json"}
