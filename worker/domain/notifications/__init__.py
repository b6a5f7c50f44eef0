"""Notifications to billing systems, and the endpoints that receive them."""
