"""The fault suite: the worker as it is deployed, on real databases and brokers, while everything around it fails.

`python -m tests.faults` does every fault of the catalogue several times, each run in a testbed of its own (database,
broker, simulated platform, worker, beat). An independent checker reads what the platform saw and what the database
holds. Data flows in one direction: `plan` ▸ `runner` ▸ `testbed` and `scenarios` ▸ `checker` ▸ `report`.
"""
