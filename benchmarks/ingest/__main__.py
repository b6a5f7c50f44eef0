"""`python -m benchmarks.ingest [NAME ...] [--processes N] [--json]`: lists, singles, callbacks, and floods."""

from functools import partial

from benchmarks.ingest import flood, rates
from benchmarks.program import Benchmarks, measure, parser_for

_NAMES = ("lists", "singles", "callbacks", "flood")


def main() -> None:
    """Run the named benchmarks."""
    parser = parser_for("benchmarks.ingest", "how fast orders and callbacks are taken in", _NAMES)
    for option, default, what in (
        ("--processes", 2, "of the worker, but in the flood"),
        ("--flood", 1_000_000, "orders in lists"),
        ("--flood-singles", 100_000, "single orders after them"),
        ("--calm-windows", 12, "windows to watch before the flood"),
    ):
        parser.add_argument(option, type=int, default=default, metavar="N", help=f"{what} (%(default)s)")
    arguments = parser.parse_args()
    spacing = partial(
        flood.spacing,
        orders=arguments.flood,
        singles=arguments.flood_singles,
        calm_windows=arguments.calm_windows,
    )
    known: Benchmarks = {
        "lists": partial(rates.lists, processes=arguments.processes),
        "singles": partial(rates.singles, processes=arguments.processes),
        "callbacks": partial(rates.callbacks, processes=arguments.processes),
        "flood": spacing,
    }
    measure(known, arguments.names, is_json=arguments.json)


if __name__ == "__main__":
    main()
