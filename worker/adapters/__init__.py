"""Thin edges to outside libraries: they decide nothing."""
