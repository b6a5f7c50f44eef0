"""What the worker does, a file for each operation: load rows, let the domain decide, save, in one transaction."""
