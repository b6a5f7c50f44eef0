"""What a tick costs at any size of the tables: `python -m benchmarks.tick`, or `make bench-tick` for several sizes."""
