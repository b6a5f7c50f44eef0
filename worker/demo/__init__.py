"""`reconciler demo`: the main job on embedded parts, from first order to a summary that a person can check.

Everything of it is real but the platform, and the platform is a process of its own with a truth of its own.
"""
