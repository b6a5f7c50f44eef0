"""What the worker's speed, use of the budget and memory are: `python -m benchmarks`, or `make bench`."""
