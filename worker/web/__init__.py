"""The HTTP server of `reconciler serve`. It needs the extra `web` of the distribution (Flask and gunicorn)."""
