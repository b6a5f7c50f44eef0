"""Reports for finance: the figures of a period, and the comparison with a statement."""
