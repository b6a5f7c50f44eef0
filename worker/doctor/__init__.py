"""Whether the reconciler can do its work safely where it stands: its settings, its database, its broker.

`checks` (pure) says what a finding is and what a reading means, `readings` takes the readings, `examination` puts them
together. Nothing here sends a query to the platform.
"""

from worker.doctor.checks import Check, Status
from worker.doctor.examination import examine, examine_before_start, examine_running, examine_unreadable
from worker.doctor.readings import unloadable_for_celery

__all__ = [
    "Check",
    "Status",
    "examine",
    "examine_before_start",
    "examine_running",
    "examine_unreadable",
    "unloadable_for_celery",
]
