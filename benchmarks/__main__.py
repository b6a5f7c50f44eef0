"""`python -m benchmarks [NAME ...] [--json]`: measure, and print one table."""

from benchmarks import budget_use, costs, memory, quiet_tick, whole_pass
from benchmarks.ingest import rates
from benchmarks.program import Benchmarks, measure, parser_for

BENCHMARKS: Benchmarks = {
    "quiet-tick": quiet_tick.run,
    "whole-pass": whole_pass.run,
    "enqueue-rate": rates.lists,
    "budget-use": budget_use.run,
    "memory": memory.run,
    "costs": costs.run,
}


def main() -> None:
    """Run the named benchmarks; all of them take about eight minutes."""
    arguments = parser_for("benchmarks", "ticks, passes, intake, memory and disk", BENCHMARKS).parse_args()
    measure(BENCHMARKS, arguments.names, is_json=arguments.json)


if __name__ == "__main__":
    main()
