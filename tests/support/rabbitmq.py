"""A RabbitMQ of the tests' own, from the machine's programs; it may be killed."""

import os
import shutil
import subprocess

from tests.support.server_process import ServerProcess, free_port, listens
from worker.adapters.child_processes import wait_until

_STOP_SECONDS = 20
_DEBIAN = "/usr/lib/rabbitmq/bin"
# Debian's wrapper in the usual path changes to a user of its own, which may not write to our folder.
_PROGRAM = shutil.which("rabbitmq-server", path=_DEBIAN)


def is_installed() -> bool:
    """Whether this machine has RabbitMQ's programs."""
    return _PROGRAM is not None


class OwnRabbitmq(ServerProcess):
    """A RabbitMQ node on free loopback ports, with the user guest. It lives as long as its context."""

    def __init__(self) -> None:
        super().__init__("rabbitmq")
        self.port = free_port()

    @property
    def url(self) -> str:
        """Broker URL of its virtual host `/`; the same before and after a restart."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def control(self, *command: str) -> list[str]:
        """The lines that a command of rabbitmqctl prints about this node."""
        program = shutil.which("rabbitmqctl", path=_DEBIAN)
        assert program is not None, "RabbitMQ is not installed"
        done = subprocess.run(
            [program, "--quiet", *command], env=self._environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    def start(self) -> None:
        """Start the node on its data and wait until it listens. Raises ChildError, with the end of its log."""
        if _PROGRAM is None:
            raise RuntimeError("RabbitMQ is not installed: install the package rabbitmq-server")
        self._process = self._launch([_PROGRAM], env=self._environment())
        self._wait_until_it_answers(lambda: listens(self.port), OSError)

    def kill(self) -> None:
        """Let the node crash (kill -9), its helpers with it; durable messages stay."""
        if self._process is not None:
            self._process.kill()
            self._process = None
            # The node is a child of the script that was waited for: a start would take its open port for an answer.
            wait_until(self._is_gone, "the end of its node", seconds=_STOP_SECONDS, poll_seconds=0.02)

    def _is_gone(self) -> bool:
        try:
            listens(self.port)
        except OSError:
            return True
        return False

    def _initialise(self) -> None:
        (self._home / "plugins").write_text("[].")

    def _environment(self) -> dict[str, str]:
        home = self._home
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            # The cookie of the node is made here.
            "HOME": str(home),
            "RABBITMQ_NODENAME": f"tests-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_BASE": str(home),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            # The machine's own settings must not reach the tests.
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_CONFIG_FILE": str(home / "none"),
            # An idle node must not keep a processor busy.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
