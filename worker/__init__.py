"""Learns the final state of recharge orders whose callback never came."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The Celery app, for `celery -A worker`, as `worker.app`. Raises AttributeError for any other name.

    In its own search for the app Celery passes over an error in `worker/celery.py`, and says that there is none. An
    error that comes from here it shows.
    """
    if name == "app":
        app: object = import_module("worker.celery").app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
