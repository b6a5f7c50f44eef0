"""When an exchange, or a part of it, must have ended, whatever it consists of."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from worker.adapters.clock import Clock

T = TypeVar("T")


class Deadline:
    """When an exchange must have ended."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """`seconds` from now, by the boot clock."""
        self._clock = clock
        self._ends = clock.boot() + seconds

    def rest(self) -> float:
        """Seconds that are left. Raises TimeoutError where none are."""
        rest = self._ends - self._clock.boot()
        if rest <= 0:
            raise TimeoutError("timed out")
        return rest

    def bound(self, call: Callable[[], T]) -> T:
        """What a call returns or raises; raises TimeoutError where it has not ended by then, and
        RuntimeError where no thread can be started.

        For what takes no timeout, such as the search for a name's address. It runs in a thread of its own, which goes
        on until the call ends by itself: nobody sees that, and the process does not wait for it.
        """
        ended: Future[T] = Future()
        thread = Thread(target=_run, args=(call, ended), name="bounded-call", daemon=True)
        rest = self.rest()
        thread.start()
        thread.join(rest)
        if not ended.done():
            raise TimeoutError("timed out")
        return ended.result()


def _run(call: Callable[[], T], ended: Future[T]) -> None:
    try:
        result = call()
    except BaseException as error:
        ended.set_exception(error)
    else:
        ended.set_result(result)
