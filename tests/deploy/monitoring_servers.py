"""A Prometheus and an Alertmanager of a test's own: Debian's packages `prometheus` and `prometheus-alertmanager`."""

import json
import signal
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.needed import needed
from tests.support.server_process import ServerProcess, free_port


class _Monitor(ServerProcess):
    """Runs on a configuration that is given; what it names is found from that file's folder."""

    program: str
    storage: str
    """The option that names its data."""
    options: tuple[str, ...] = ()

    def __init__(self, config: Path) -> None:
        self._program = needed(self.program)
        super().__init__(self.program)
        self._config = config
        self.address = f"127.0.0.1:{free_port()}"
        """Where it listens: host and port."""

    def _initialise(self) -> None:
        """Its configuration is all that it needs."""

    def start(self) -> None:
        """Start it on its data and wait until it answers. Raises ChildError, with the end of its log."""
        files = (f"--config.file={self._config}", f"--{self.storage}={self.data}")
        command = [self._program, *files, f"--web.listen-address={self.address}", *self.options]
        self._process = self._launch(command)
        self._wait_until_it_answers(lambda: self._read("/-/ready"), OSError)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _read(self, path: str, given: Mapping[str, str] | None = None) -> bytes:
        with urllib.request.urlopen(f"http://{self.address}{path}?{urlencode(given or {})}", timeout=10) as answer:
            return bytes(answer.read())


class Prometheus(_Monitor):
    """Scrapes, and evaluates rules."""

    program, storage = "prometheus", "storage.tsdb.path"
    # An alert that fires before Alertmanager was looked up is lost until it is sent again: by default after a minute.
    options = ("--rules.alert.resend-delay=1s",)

    def numbers(self, expression: str) -> list[float]:
        """What an expression evaluates to now, a number for each series. Raises HTTPError where it is wrong."""
        found = json.loads(self._read("/api/v1/query", {"query": expression}))["data"]["result"]
        return [float(series["value"][1]) for series in found]

    def label_values(self, label: str, metric: str) -> list[str]:
        """The values of a label that a metric has."""
        found: list[str] = json.loads(self._read(f"/api/v1/label/{label}/values", {"match[]": metric}))["data"]
        return found


class Alertmanager(_Monitor):
    """Sends alerts to receivers; it belongs to no cluster."""

    program, storage = "prometheus-alertmanager", "storage.path"
    options = ("--cluster.listen-address=",)

    def state_of(self, alert: str) -> set[str]:
        """`active` or `suppressed`, of each account that has this alert now."""
        found: list[dict[str, Any]] = json.loads(self._read("/api/v2/alerts"))
        return {one["status"]["state"] for one in found if one["labels"]["alertname"] == alert}
