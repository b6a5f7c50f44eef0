"""Whether the reconciler can run safely here: checks of its settings, its database and its broker.

`readings` takes readings, `checks` (pure) turns each into a finding, `examination` puts them together. Nothing here
sends a query to the platform.
"""

from worker.doctor.checks import Check, Status
from worker.doctor.examination import examine, examine_before_start, examine_running, examine_unreadable
from worker.doctor.files_and_hosts import shadow
from worker.doctor.readings import unloadable_for_celery

__all__ = [
    "Check",
    "Status",
    "examine",
    "examine_before_start",
    "examine_running",
    "examine_unreadable",
    "shadow",
    "unloadable_for_celery",
]
