"""`.ci/run [STEP...]`: everything that must hold before a change lands, or these steps alone.

It ends with a table of the steps and their seconds, and the slowest tests. Logs are in build/ci. Exits 1 where a step
has failed.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.ci.running import Result, Runner, how_it_ended, table
from tests.ci.steps import LANES, PREPARATION, environment


def main(names: list[str]) -> int:
    """Run all steps, or those of these names; returns the exit status."""
    lanes = [[step for step in lane if not names or step.name in names] for lane in LANES]
    known = {step.name for lane in LANES for step in lane}
    if unknown := set(names) - known:
        print(f"no step is called {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    os.environ.update(environment())
    # Programs start more than a thousand times: not to keep what Python has compiled costs a tenth of each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    runner = Runner(Path("build/ci").resolve(), report=_report)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if runner.run([PREPARATION]):
            runner.run(lanes)
    except KeyboardInterrupt:
        runner.stop()
        print("interrupted", flush=True)
        return 130
    finally:
        print(f"\n{table(runner.results)}", flush=True)
    return 0 if all(result.is_good for result in runner.results) else 1


def _report(result: Result) -> None:
    print(f"\n{how_it_ended(result)}", flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
