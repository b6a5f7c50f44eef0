"""Learns the final state of recharge orders whose callback never came."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def loading_for_good() -> Iterator[None]:
    """Load modules that stay until the process ends.

    Python searches for garbage again and again meanwhile, among all that was loaded: a sixth of the start of a program.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def __getattr__(name: str) -> object:
    """The Celery app, for `celery -A worker`, as `worker.app`. Raises AttributeError for any other name.

    Celery's own search for the app hides an error in `worker/celery.py` and reports that there is no app. It shows an
    error that is raised here.
    """
    if name == "app":
        with loading_for_good():
            app: object = import_module("worker.celery").app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
