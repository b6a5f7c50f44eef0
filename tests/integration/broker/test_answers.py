"""Whether the broker answers, as a worker process asks it: of either kind, stopped and started again."""

import time
from collections.abc import Iterator

import pytest
from kombu import Connection, Exchange, Producer, Queue
from structlog.testing import capture_logs

from tests.support.needed import needed
from tests.support.rabbitmq import OwnRabbitmq
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from tests.support.watching import unwatched
from worker.broker.answers import ASKED_KEY, Broker, BrokerAnswers
from worker.broker.celery_settings import ORDERS_QUEUE, TICKS_QUEUE


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedValkey | OwnRabbitmq]:
    """A broker of the test's own, which may be stopped."""
    if request.param == "rabbitmq":
        needed("rabbitmq-server")
    with EmbeddedValkey() if request.param == "redis" else OwnRabbitmq() as broker:
        yield broker


def has_answered_of_late(answers: BrokerAnswers) -> bool:
    since = answers.seconds_since_answer()
    return since is not None and since < 0.3


def is_unanswered(answers: BrokerAnswers) -> bool:
    asked, answered = answers.seconds_since_asked(), answers.seconds_since_answer()
    return asked is not None and answered is not None and answered > asked + 0.5


@pytest.mark.slow
def test_a_broker_answers_until_it_is_away_and_again_once_it_is_back(server: EmbeddedValkey | OwnRabbitmq) -> None:
    answers = BrokerAnswers(Broker(server.url), unwatched(), period_seconds=0.05)
    try:
        eventually(lambda: has_answered_of_late(answers), "an answer")
        server.kill()
        eventually(lambda: is_unanswered(answers), "a question without an answer")
        server.start()
        eventually(lambda: has_answered_of_late(answers), "an answer of the new server")
    finally:
        answers.close()


@pytest.mark.parametrize(
    ("refuse", "take"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "9"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["full", "read-only"],
)
def test_a_redis_that_refuses_what_is_sent_does_not_answer(
    own_valkey: EmbeddedValkey, refuse: tuple[str, ...], take: tuple[str, ...]
) -> None:
    answers = BrokerAnswers(Broker(own_valkey.url), unwatched(), period_seconds=0.05)
    try:
        with own_valkey.client() as client:
            eventually(lambda: has_answered_of_late(answers), "an answer")
            client.execute_command(*refuse)
            eventually(lambda: is_unanswered(answers), "a question without an answer")
            client.execute_command(*take)
            eventually(lambda: has_answered_of_late(answers), "an answer again")
    finally:
        answers.close()


def test_what_is_written_to_a_redis_expires_and_a_missing_right_to_it_is_no_silence(own_valkey: EmbeddedValkey) -> None:
    with own_valkey.client() as client:
        broker = Broker(own_valkey.url)
        broker.ask()
        assert [0 < client.ttl(key) <= 60 for key in client.keys("*")] == [True]
        client.flushall()
        client.execute_command("ACL", "SETUSER", "default", "-set", "-get")
        broker.ask()
        broker.close()
        assert client.keys("*") == []


def test_before_the_first_answer_there_is_none() -> None:
    answers = BrokerAnswers(Broker("redis://127.0.0.1:9/0"), unwatched(), period_seconds=0.05)
    eventually(lambda: answers.seconds_since_asked() is not None, "a question")
    assert answers.seconds_since_answer() is None
    answers.close()


@pytest.mark.slow
def test_messages_that_wait_are_counted_without_those_under_way(server: EmbeddedValkey | OwnRabbitmq) -> None:
    broker = Broker(server.url)
    # RabbitMQ has no queue before somebody declares it: that it is empty is not known.
    assert broker.ask() == ({ORDERS_QUEUE: 0, TICKS_QUEUE: 0} if isinstance(server, EmbeddedValkey) else {})
    with Connection(server.url) as connection, connection.channel() as channel:
        orders, ticks = (Queue(name, Exchange(name), routing_key=name)(channel) for name in (ORDERS_QUEUE, TICKS_QUEUE))
        for queue in (orders, ticks):
            queue.declare()
        for priority in (0, 9, 5):
            Producer(channel).publish({}, exchange=orders.exchange, routing_key=ORDERS_QUEUE, priority=priority)
        eventually(lambda: broker.ask() == {ORDERS_QUEUE: 3, TICKS_QUEUE: 0}, "three messages")
        message = orders.get()
        eventually(lambda: broker.ask() == {ORDERS_QUEUE: 2, TICKS_QUEUE: 0}, "one of them under way")
        message.ack()
        orders.purge()
    broker.close()


def test_a_length_that_may_not_be_asked_for_is_not_known_and_the_broker_answers(own_valkey: EmbeddedValkey) -> None:
    answers = BrokerAnswers(Broker(own_valkey.url), unwatched(), period_seconds=0.05)
    try:
        eventually(lambda: answers.waiting(ORDERS_QUEUE) == 0, "an empty queue")
        with own_valkey.client() as client:
            client.lpush(ORDERS_QUEUE, "1", "2")
            eventually(lambda: answers.waiting(ORDERS_QUEUE) == 2, "two messages")
            eventually(lambda: (answers.seconds_since_empty() or 0) > 0.2, "readings of messages")
            client.execute_command("ACL", "SETUSER", "default", "-llen")
            eventually(
                lambda: answers.waiting(ORDERS_QUEUE) is None and has_answered_of_late(answers),
                "an answer without a length",
            )
        assert (answers.seconds_since_empty() or 0) > 0.2
        own_valkey.kill()
        eventually(lambda: is_unanswered(answers), "a question without an answer")
        assert answers.waiting(TICKS_QUEUE) is None
    finally:
        answers.close()


def test_a_key_of_another_type_is_replaced_and_the_broker_answers(own_valkey: EmbeddedValkey) -> None:
    with own_valkey.client() as client:
        client.rpush(ASKED_KEY, "of another program")
        broker = Broker(own_valkey.url, lambda: "ours")
        assert broker.ask() == {ORDERS_QUEUE: 0, TICKS_QUEUE: 0}
        assert client.get(ASKED_KEY) == b"ours"
    broker.close()


def test_deployments_on_one_redis_number_find_each_other_until_one_has_ended(own_valkey: EmbeddedValkey) -> None:
    # As an older release has written it, and a process that has not read its database yet.
    ours, unknown = Broker(own_valkey.url, lambda: "ours"), Broker(own_valkey.url)
    for broker in (unknown, ours, Broker(own_valkey.url, lambda: "ours"), ours):
        broker.ask()
        assert broker.other_deployment_at is None
    theirs = Broker(own_valkey.url, lambda: "theirs")
    with capture_logs() as lines:
        for broker in (theirs, ours, theirs):
            before = time.monotonic()
            broker.ask()
            assert (broker.other_deployment_at or 0) >= before
    assert [line["action"] for line in lines] == ["shared_queues"]
    ours.ask()
    found_at = ours.other_deployment_at
    for _ in range(2):
        ours.ask()
    assert ours.other_deployment_at == found_at
    # It is found again although a process that does not know its database has written between.
    unknown.ask()
    theirs.ask()
    assert (theirs.other_deployment_at or 0) > (found_at or 0)
    # Another number of the same Redis is another place.
    elsewhere = Broker(f"{own_valkey.url.removesuffix('0')}1", lambda: "elsewhere")
    elsewhere.ask()
    assert elsewhere.other_deployment_at is None
    for broker in (ours, unknown, theirs, elsewhere):
        broker.close()
