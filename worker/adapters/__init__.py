"""Thin edges: each speaks to one outside library, and decides nothing."""
