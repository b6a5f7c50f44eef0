"""Whether the libraries that the settings' URLs need can be loaded.

kombu, Celery and SQLAlchemy load a transport, a result backend or a driver only when a URL needs it, and their errors
do not name the missing package. To load them makes no connection.
"""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module

from worker.adapters.safe_text import first_words
from worker.doctor.finding import Check, fatal
from worker.domain.records.sentences import N_, Sentence
from worker.settings import Settings
from worker.settings.addresses import schemes

# The client before the transport: without the client kombu's module loads all the same, and fails later.
_REDIS = ("redis", "kombu.transport.redis")
# With RabbitMQ, too, the worker loads the guards of both transports (worker/broker/redis_and_rabbitmq.py).
_RABBITMQ = (*_REDIS, "kombu.transport.pyamqp")
_REDIS_SCHEMES = ("redis", "rediss", "redis+socket")
_TRANSPORTS = dict.fromkeys(_REDIS_SCHEMES, _REDIS) | dict.fromkeys(("amqp", "amqps"), _RABBITMQ)
_DRIVERS = {
    "postgresql+psycopg": ("psycopg",),
    "mysql+pymysql": ("pymysql",),
    "mariadb+pymysql": ("pymysql",),
    # In Python's own library.
    "sqlite": (),
}
_BACKENDS = {
    # Celery's module needs the transport's errors, and hides that it cannot import them.
    **dict.fromkeys(_REDIS_SCHEMES, (*_REDIS, "celery.backends.redis")),
    "rpc": ("celery.backends.rpc",),
    **{f"db+{scheme}": ("celery.backends.database", *modules) for scheme, modules in _DRIVERS.items()},
}
# Packages that have another name than their module.
_PACKAGES = {"psycopg": "psycopg[binary]", "pymysql": "PyMySQL", "sqlalchemy": "SQLAlchemy"}


def unloadable(settings: Settings) -> dict[str, Check]:
    """The libraries that cannot be loaded, by the name of the check: `database`, `broker` or `result_backend`."""
    driver = _faults("database", N_("the driver of %(name)s"), settings.database_dsn, _DRIVERS)
    return unloadable_for_celery(settings) | {check.name: check for check in driver}


def unloadable_for_celery(settings: Settings) -> dict[str, Check]:
    """The same without the database, which beat does not need."""
    found = [
        *_faults("broker", N_("the transport of %(name)s"), settings.broker_dsn, _TRANSPORTS),
        *_faults("result_backend", N_("the result backend of %(name)s"), settings.result_dsn or "", _BACKENDS),
    ]
    return {check.name: check for check in found}


def _faults(name: str, what: str, url: str, needed: Mapping[str, tuple[str, ...]]) -> Iterator[Check]:
    for scheme in schemes(url):
        for module in needed[scheme]:
            try:
                import_module(module)
            except ImportError as error:
                yield _unloadable(name, Sentence(what, scheme), module, error)
                return


def _unloadable(name: str, what: str, module: str, error: ImportError) -> Check:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    why = Sentence("the module %(name)s is missing", repr(missing)) if missing else first_words(error)
    root = (missing or module).partition(".")[0]
    message = N_('install the package %(name)s into %(path)s, as "Install" in docs/deployment.md does')
    remedy = Sentence(message, _PACKAGES.get(root, root), sys.prefix)
    return fatal(name, Sentence("%(what)s cannot be loaded (%(why)s)", what, why), remedy)
