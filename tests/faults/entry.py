"""The suite's own entry point: `celery -A tests.faults.entry worker`, the worker's parts with points to strike at.

Nothing of this is in the product. Its environment variables configure this process: FAULTS_FOLDER (where its
points are armed, its clocks stepped and its addresses set), FAULTS_VISIBILITY_SECONDS (after which Redis redelivers),
FAULTS_VARIANT (a broken variant of the product) and FAULTS_BOOT_ID (simulates another host). It does not import the
testbed: hundreds of workers start, and that would take each a fifth longer.
"""

import os
from pathlib import Path

from worker import loading_for_good

with loading_for_good():
    from tests.faults.addresses import resolve_by
    from tests.faults.variants import VARIANTS
    from worker.celery import app as app
    from worker.process.runtime import compose

resolve_by(Path(os.environ["FAULTS_FOLDER"]))
compose(VARIANTS[os.environ.get("FAULTS_VARIANT", "product")])

if app.conf.broker_url.startswith("redis"):
    # A killed worker's unacknowledged messages are redelivered after minutes; scaled down as the windows are.
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "visibility_timeout": int(os.environ["FAULTS_VISIBILITY_SECONDS"]),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # A worker that is killed while it looks for such messages leaves kombu's lock, by default for five minutes.
        "unacked_mutex_expire": 5,
    }
