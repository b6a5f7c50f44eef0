"""Many accounts at once, each with a backlog: `python -m benchmarks.accounts`, or `make bench-accounts`."""
