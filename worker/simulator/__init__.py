"""A simulated platform on loopback. It answers the documented order query, knows the truth about each order, and
records every request.

The simulated platform shares no code with the rest of the package. So a mistake in the worker's client cannot be hidden
by the same mistake in the platform. Only `command` reads the worker's settings.
"""
