"""Learn the final state of recharge orders whose callback never came."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def loading_for_good() -> Iterator[None]:
    """Turn garbage collection off while modules are loaded; the modules stay loaded until the process ends.

    Otherwise Python would search all loaded objects again and again, which takes a sixth of a program's start time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def __getattr__(name: str) -> object:
    """Load the Celery app as `worker.app`, for `celery -A worker`. Raises AttributeError for any other name.

    Celery would also find the app in `worker/celery.py` by itself. But if that module raises an error, Celery would
    hide it and report only that there is no app. Celery shows errors that are raised in this function.
    """
    if name == "app":
        with loading_for_good():
            app: object = import_module("worker.celery").app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
