"""The checker: decides from the platform's record and the database alone whether the promise was kept.

It shares no code with the product, nor with the simulated platform: it reads JSON and SQL, and checks the promise.
"""
