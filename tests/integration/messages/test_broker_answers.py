"""Whether the broker answers, as a worker process asks it: of either kind, stopped and started again."""

from collections.abc import Iterator

import pytest

from tests.support.needed import needed
from tests.support.rabbitmq import OwnRabbitmq
from tests.support.servers import EmbeddedValkey
from tests.support.waiting import eventually
from tests.support.watching import unwatched
from worker.messages.broker_answers import Broker, BrokerAnswers


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedValkey | OwnRabbitmq]:
    """A broker of the test's own, which may be stopped."""
    if request.param == "rabbitmq":
        needed("rabbitmq-server")
    with EmbeddedValkey() if request.param == "redis" else OwnRabbitmq() as broker:
        yield broker


@pytest.mark.slow
def test_a_broker_answers_until_it_is_away_and_again_once_it_is_back(server: EmbeddedValkey | OwnRabbitmq) -> None:
    answers = BrokerAnswers(Broker(server.url), unwatched(), period_seconds=0.05)

    def has_answered_of_late() -> bool:
        since = answers.seconds_since_answer()
        return since is not None and since < 0.3

    def is_asked_in_vain() -> bool:
        asked, answered = answers.seconds_since_asked(), answers.seconds_since_answer()
        return asked is not None and answered is not None and answered > asked + 0.5

    try:
        eventually(has_answered_of_late, "an answer")
        server.kill()
        eventually(is_asked_in_vain, "a question without an answer")
        server.start()
        eventually(has_answered_of_late, "an answer of the new server", seconds=20)
    finally:
        answers.close()


def test_before_the_first_answer_there_is_none() -> None:
    answers = BrokerAnswers(Broker("redis://127.0.0.1:9/0"), unwatched(), period_seconds=0.05)
    eventually(lambda: answers.seconds_since_asked() is not None, "a question")
    assert answers.seconds_since_answer() is None
    answers.close()
