"""Notifications to billing systems, and the treatment of endpoints that fail."""
