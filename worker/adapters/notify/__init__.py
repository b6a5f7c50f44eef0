"""How notifications reach a billing system: a webhook, or a task of its own Celery."""
