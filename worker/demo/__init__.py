"""Show the main job with embedded parts, from the first order to a summary that people can check: `reconciler demo`.

Everything is real except the platform, which is simulated in a separate process and knows the truth about each order.
"""
