"""How long a tick takes at any size of the tables: `python -m benchmarks.tick`; for several sizes `make bench-tick`."""
