"""`reconciler serve` with points to strike at: `python -m tests.faults.serving PORT`.

Its environment is that of `tests.faults.entry`.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.faults.points import Point, Points
from worker.adapters.log import configure_logging
from worker.domain.callbacks.bodies import Callback
from worker.domain.records.incoming import Rejection
from worker.domain.records.orders import OrderKey
from worker.process.intake import Intake
from worker.settings import load_settings
from worker.web.app import WebProcess
from worker.web.server import Server

_points = Points(Path(os.environ["FAULTS_FOLDER"]))


class PointedIntake(Intake):
    """The intake, with points before and after callbacks are committed."""

    def receive_callbacks(self, received: Sequence[Callback | Rejection]) -> list[OrderKey]:
        """Take in callbacks that came together."""
        _points.passes(Point.RECEIPT_BEGINS)
        keys = super().receive_callbacks(received)
        _points.passes(Point.RECEIPT_COMMITTED)
        return keys


def main() -> None:
    """Serve until the end."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets)
    make_process = partial(WebProcess, intake=PointedIntake)
    Server(settings, host="127.0.0.1", port=int(sys.argv[1]), workers=2, make_process=make_process).run()


if __name__ == "__main__":
    main()
