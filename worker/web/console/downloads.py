"""How many files are downloaded at a time, in all processes of one `reconciler serve`."""

from fcntl import LOCK_EX, LOCK_NB, flock
from tempfile import TemporaryFile
from typing import IO

MOST = 2
"""Each takes a processor while it is made, and space for temporary files."""


class Downloads:
    """The places for downloads. Processes that are forked after this was made share them.

    A place is the lock of a file without a name: the kernel frees it when its holder closes it, or is killed.
    """

    def __init__(self) -> None:
        self._places = [TemporaryFile() for _ in range(MOST)]  # noqa: SIM115  # `close` does

    def take(self) -> IO[bytes] | None:
        """A place, which is free again once it is closed; None if all are taken."""
        for place in self._places:
            # Opened anew: locks of one open file do not exclude each other, and forks share it.
            own = open(f"/proc/self/fd/{place.fileno()}", "rb")  # noqa: SIM115  # the caller closes it
            try:
                flock(own, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                own.close()
            else:
                return own
        return None

    def close(self) -> None:
        """Take part no more: this process begins no further download."""
        for place in self._places:
            place.close()
