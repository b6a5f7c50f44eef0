"""Learns the final state of recharge orders whose callback never came."""

from importlib import import_module


def __getattr__(name: str) -> object:
    """The Celery app, for `celery -A worker`, as `worker.app`. Raises AttributeError for any other name.

    Celery's own search for the app hides an error in `worker/celery.py` and reports that there is no app. It shows an
    error that is raised here.
    """
    if name == "app":
        app: object = import_module("worker.celery").app
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
