"""The simulated platform: the documented order query on loopback, with a truth of its own and a record of arrivals.

It shares no code with the rest of the package, so a mistake in the client cannot be hidden by the same mistake here;
only `command` reads the worker's settings.
"""
