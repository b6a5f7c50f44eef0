"""The process of a worker: its parts, its threads, its ticks and passes, its start and end."""
