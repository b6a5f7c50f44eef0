"""A plain loop that ticks besides all other programs, without a broker: `python -m tests.faults.loop`.

It runs until it is killed. Its environment is that of `tests.faults.entry`.
"""

import time

from tests.faults.variants import PRODUCT
from worker.process.runtime import Runtime
from worker.settings import load_settings

_PAUSE_SECONDS = 0.05


def main() -> None:
    """Tick for ever, faster than any beat."""
    ticks = Runtime(load_settings(), PRODUCT).ticks
    while True:
        ticks.tick()
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
