"""What Celery is told, where no run would show it."""

import ssl

import pytest
from kombu import Connection

from worker.celery_settings import celery_settings
from worker.settings import Settings


def told(broker_url: str) -> dict[str, object]:
    return celery_settings(Settings(broker_url=broker_url))


def test_the_certificate_of_a_redis_is_checked() -> None:
    # Left alone, kombu would take any.
    assert Connection("rediss://broker.example:6380/0").ssl == {"ssl_cert_reqs": ssl.CERT_NONE}
    asked = told("rediss://broker.example:6380/0")["broker_use_ssl"]
    assert Connection("rediss://broker.example:6380/0", ssl=asked).ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_the_certificate_of_a_rabbitmq_is_checked_and_the_name_in_it() -> None:
    asked = told("amqps://broker.example//")["broker_use_ssl"]
    # None stands for the host in the URL; without the key no name would be compared.
    assert asked == {"server_hostname": None, "cert_reqs": ssl.CERT_REQUIRED}


@pytest.mark.parametrize("url", ["redis://127.0.0.1/0", "amqp://127.0.0.1//"])
def test_brokers_without_tls_are_told_nothing_of_it(url: str) -> None:
    assert told(url)["broker_use_ssl"] is None


def test_nothing_but_json_is_taken_or_sent() -> None:
    settings = told("redis://127.0.0.1/0")
    assert settings["accept_content"] == settings["result_accept_content"] == ["json"]
    assert {settings[f"{kind}_serializer"] for kind in ("task", "result", "event")} == {"json"}
