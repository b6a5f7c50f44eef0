"""`reconciler serve`: what answers over HTTP. Needs the extra `web` of the distribution (Flask and gunicorn)."""
