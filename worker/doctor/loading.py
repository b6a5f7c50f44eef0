"""Whether the libraries that the settings' URLs need can be loaded.

kombu, Celery and SQLAlchemy load a transport, a result backend or a driver only when a URL asks for it, and what they
say where that fails names another thing, or nothing. Nothing is connected to here.
"""

import sys
from collections.abc import Iterator
from importlib import import_module

from worker.adapters.error_text import first_words
from worker.doctor.checks import Check, fatal
from worker.settings import Settings
from worker.settings.addresses import schemes

# The client before the transport: where it is missing, kombu's module loads all the same, and fails later.
_REDIS = ("redis", "kombu.transport.redis")
# With RabbitMQ, too, the worker loads what guards the messages of both (worker/messages/guarded_kombu.py).
_RABBITMQ = (*_REDIS, "kombu.transport.pyamqp")
_TRANSPORTS = {
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+socket": _REDIS,
    "amqp": _RABBITMQ,
    "amqps": _RABBITMQ,
}
_DRIVERS = {
    "postgresql+psycopg": ("psycopg",),
    "mysql+pymysql": ("pymysql",),
    "mariadb+pymysql": ("pymysql",),
    # A part of Python.
    "sqlite": (),
}
_BACKENDS = {
    # Celery's module needs the transport's errors, and hides that it cannot have them.
    "redis": (*_REDIS, "celery.backends.redis"),
    "rediss": (*_REDIS, "celery.backends.redis"),
    "redis+socket": (*_REDIS, "celery.backends.redis"),
    "rpc": ("celery.backends.rpc",),
    **{f"db+{scheme}": ("celery.backends.database", *modules) for scheme, modules in _DRIVERS.items()},
}
# Packages that have another name than their module.
_PACKAGES = {"psycopg": "psycopg[binary]", "pymysql": "PyMySQL", "sqlalchemy": "SQLAlchemy"}


def unloadable(settings: Settings) -> dict[str, Check]:
    """What is fatal, by the name of the check: `database`, `broker` or `result_backend`."""
    return {check.name: check for check in (*unloadable_for_celery(settings).values(), *_driver(settings))}


def unloadable_for_celery(settings: Settings) -> dict[str, Check]:
    """The same without the database, which not everything that speaks to the broker needs."""
    found = [
        *_faults("broker", "the transport of", settings.broker_dsn, _TRANSPORTS),
        *_faults("result_backend", "the result backend of", settings.result_dsn or "", _BACKENDS),
    ]
    return {check.name: check for check in found}


def _driver(settings: Settings) -> Iterator[Check]:
    return _faults("database", "the driver of", settings.database_dsn, _DRIVERS)


def _faults(name: str, what: str, url: str, needed: dict[str, tuple[str, ...]]) -> Iterator[Check]:
    for scheme in schemes(url):
        for module in needed[scheme]:
            try:
                import_module(module)
            except ImportError as error:
                yield _unloadable(name, f"{what} {scheme}", module, error)
                return


def _unloadable(name: str, what: str, module: str, error: ImportError) -> Check:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    why = f"the module {missing!r} is missing" if missing else first_words(error)
    root = (missing or module).partition(".")[0]
    remedy = f'install the package {_PACKAGES.get(root, root)} into {sys.prefix}, as README\'s "Install" does'
    return fatal(name, f"{what} cannot be loaded ({why})", remedy)
