"""Run `reconciler demo`: show what the reconciler does, from the first order to a summary that people can check.

Everything is real except the platform, which is simulated in a separate process and knows the truth about each order.
No service is needed: broker and database are embedded.
"""
