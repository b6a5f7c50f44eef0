"""`reconciler demo`: the main job on embedded parts, from first order to a summary that a person can check.

Everything is real except the platform, which is a process of its own with a truth of its own.
"""
