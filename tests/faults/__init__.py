"""The fault suite: the worker as it is deployed, on real databases and brokers, while everything around it fails.

`python -m tests.faults` plays every fault of the catalogue so many times, each in a testbed of its own (database, broker,
simulated platform, worker, beat), and has an independent judge look at what the platform saw and what the database
holds. Data walks one way: `plan` ▸ `runner` ▸ `testbed` and `scenarios` ▸ `judge` ▸ `report`.
"""
