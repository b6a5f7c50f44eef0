"""What may be archived or purged, and from which age on: stores put it into SQL, operations move and delete.

Purged are archived orders, refused input and unmatched callbacks by their age, and old queries that no order's id and
no event names. Orders outside the archive are never deleted.
"""

from datetime import timedelta

from worker.domain.records.orders import OrderState

ARCHIVED_FROM = timedelta(days=1)
"""Nothing younger is moved: an order is named most often on its first day, and no transaction lasts so long."""
ARCHIVED_STATES = (OrderState.SUCCEEDED, OrderState.FAILED, OrderState.CANCELLED)
"""`unresolved` orders stay, and so do those with an `attention`: a person has to decide about them."""
PURGED_FROM = timedelta(days=30)
"""Nothing younger is deleted: an order that is sent again after it was deleted is new, and is polled again."""
