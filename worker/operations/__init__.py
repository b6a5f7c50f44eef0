"""The operations of the worker, each in its own file. An operation loads rows, lets the domain decide, and saves the
result, all in one transaction."""
