"""Whether the reconciler can run safely here: checks of its settings, its database and its broker.

`readings` takes readings, `checks` (pure) turns each into a `finding`, `examination` puts them together. Nothing here
sends a query to the platform.
"""
