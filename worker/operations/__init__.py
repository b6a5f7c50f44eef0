"""What the worker does, a file for each verb: load rows, let the domain decide, save, in one visible transaction."""
