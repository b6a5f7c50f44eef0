"""Whether the broker answers, as a worker process asks it: of either kind, stopped and started again."""

from collections.abc import Iterator

import pytest

from tests.support.needed import needed
from tests.support.rabbitmq import OwnRabbitmq
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from tests.support.watching import unwatched
from worker.broker.answers import Broker, BrokerAnswers


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
        eventually(lambda: has_answered_of_late(answers), "an answer of the new server", seconds=20)
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
        client.execute_command("ACL", "SETUSER", "default", "-set")
        broker.ask()
        broker.close()
        assert client.keys("*") == []


def test_before_the_first_answer_there_is_none() -> None:
    answers = BrokerAnswers(Broker("redis://127.0.0.1:9/0"), unwatched(), period_seconds=0.05)
    eventually(lambda: answers.seconds_since_asked() is not None, "a question")
    assert answers.seconds_since_answer() is None
    answers.close()
