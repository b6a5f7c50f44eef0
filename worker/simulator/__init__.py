"""A simulated platform on loopback. It answers the documented order query, knows the truth about each order, and
records every request.

It shares no code with the rest of the package, so that a mistake in the client cannot be hidden by the same mistake
here. Only `command` reads the worker's settings.
"""
