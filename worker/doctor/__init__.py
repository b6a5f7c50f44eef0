"""Check whether the reconciler can run safely here: its settings, its database and its broker.

`readings` reads the state of the servers. `checks`, which is pure, turns each reading into a finding (see `finding`).
`files_and_hosts` checks this host. `examination` runs all of these and combines the findings. No check sends a query to
the platform.
"""
