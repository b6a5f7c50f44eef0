"""The operations of the worker, in a file each: load rows, let the domain decide, and save, in one transaction."""
