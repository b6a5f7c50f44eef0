"""Check whether the reconciler can run safely here: its settings, its database and its broker.

`readings` takes readings. `checks`, which is pure, turns each reading into a `finding`. `examination` combines them.
Nothing here sends a query to the platform.
"""
