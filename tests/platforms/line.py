"""The wire in virtual time: the outcome of the real client for each reply of the platform, read by the real reader."""

from collections.abc import Callable, Sequence
from random import Random

from tests.histories.world import World
from tests.platforms.platform import RandomPlatform
from tests.platforms.writing import Reply
from worker.adapters.platform.client import PlatformClient
from worker.domain.records.incoming import Answer, DeadlineExceeded, HttpError, Malformed, QueryError, Unreachable
from worker.domain.records.orders import IdKind
from worker.domain.wire.answers import read_answer
from worker.domain.wire.query_request import Credentials

_BROKEN: dict[str, type[QueryError]] = {
    "timeout": DeadlineExceeded,
    "unreachable": Unreachable,
    "reset": Malformed,
}


class Line(PlatformClient):
    """A client without sockets. Each exchange takes its time."""

    def __init__(
        self, platform: RandomPlatform, world: World, now: Callable[[], float], deadline: float, random: Random
    ) -> None:
        self._platform = platform
        self._world = world
        self._now = now
        self._deadline = deadline
        self._random = random

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> Answer:
        """Query the platform, as the real client does."""
        account = credentials.app_id.removeprefix("app-")
        reply = self._platform.receive(self._now(), account, id_kind.value, ids)
        latency = self._deadline if reply.broken == "timeout" else self._random.choice((0.1, 0.5, 2.0, 15.0))
        self._world.pass_time(latency)
        return read_reply(reply, id_kind, ids)


def read_reply(reply: Reply, id_kind: IdKind, ids: Sequence[str]) -> Answer:
    """The answer or error of the real client for a reply."""
    if reply.broken:
        raise _BROKEN[reply.broken](f"the platform of the test: {reply.broken}")
    if reply.status != 200:
        raise HttpError(reply.status, retry_after=reply.retry_after)
    return read_answer(reply.body, reply.content_type, id_kind, ids)
