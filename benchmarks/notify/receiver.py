"""A receiver of webhooks in a process of its own: `python -m benchmarks.notify.receiver SECONDS|hang` prints its port.

It answers each request 200 after so many seconds, or never. It verifies nothing, so that it costs little of the
machine that is measured.
"""

import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.processes import PATIENCE_SECONDS
from worker.adapters.child_processes import Child

SECRET = "whsec_" + "A" * 32
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def receiver(takes: str) -> Iterator[str]:
    """Run one; gives its URL. `takes`: seconds, or `hang`."""
    command = [sys.executable, "-m", "benchmarks.notify.receiver", takes]
    with Child(command, name="the receiver", is_piped=True) as child:
        _, output = child.pipes
        yield f"http://127.0.0.1:{int(output.readline())}/hook"
        child.stop(seconds=PATIENCE_SECONDS)


async def _serve(takes: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                await reader.readexactly(int(found[1]) if found else 0)
                await asyncio.sleep(3600 if takes == "hang" else float(takes))
                writer.write(_ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
