"""`python -m benchmarks.notify [NAME ...] [--quick] [--json]`: deliveries, what they cost the rest, and callbacks."""

from functools import partial

from benchmarks.notify import callbacks, deliveries, spacing, write_back
from benchmarks.program import Benchmarks, measure, parser_for

_FULL: Benchmarks = {
    "rate": partial(deliveries.rate, count=5_000, runs=3),
    "delay": partial(deliveries.delay, runs=40),
    "spacing": partial(spacing.run, waiting=100_000, windows=12),
    "write-back": write_back.run,
    "callbacks": partial(callbacks.run, callbacks=3_000, rounds=3),
}
_QUICK: Benchmarks = {
    "rate": partial(deliveries.rate, count=500, runs=1),
    "delay": partial(deliveries.delay, runs=10),
    "spacing": partial(spacing.run, waiting=1_000, windows=3),
    "write-back": write_back.run,
    "callbacks": partial(callbacks.run, callbacks=300, rounds=1),
}


def main() -> None:
    """Run the named benchmarks."""
    parser = parser_for("benchmarks.notify", "notifications, and callbacks over HTTP", _FULL)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    measure(_QUICK if arguments.quick else _FULL, arguments.names, is_json=arguments.json)


if __name__ == "__main__":
    main()
