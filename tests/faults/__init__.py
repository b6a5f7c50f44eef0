"""The fault suite: the worker as it is deployed, on real databases and brokers, while everything around it fails.

`python -m tests.faults` runs every fault of the catalogue so many times, each in a testbed of its own (database,
broker, simulated platform, worker, beat). An independent checker reads what the platform saw and what the database
holds. Data walks one way: `plan` ▸ `runner` ▸ `testbed` and `scenarios` ▸ `checker` ▸ `report`.
"""
