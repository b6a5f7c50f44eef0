"""A worker on the host that BENCH_HOST names: `celery -A benchmarks.accounts.entry worker`."""

import os

from worker.celery import app as app
from worker.runtime import Parts, compose

compose(Parts(host=lambda: os.environ["BENCH_HOST"]))
