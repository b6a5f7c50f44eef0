"""Print the orders that are open in the billing system, as CSV for `reconciler enqueue`: for the nightly re-send.

Copy it to /etc/reconciler, and change the query to your tables: each order whose final state you have not read yet. The
file that BILLING_URL_FILE names holds the URL of the billing database, as a role that reads.
"""

import csv
import os
import sys
from pathlib import Path

import psycopg

OPEN_ORDERS = """
    SELECT request_id, mobile, amount AS expected_amount, submitted_at
    FROM billing_orders
    WHERE state = 'open' AND submitted_at > now() - interval '7 days'
"""

with psycopg.connect(Path(os.environ["BILLING_URL_FILE"]).read_text("utf-8").strip()) as connection:
    orders = connection.execute(OPEN_ORDERS)
    lines = csv.writer(sys.stdout)
    lines.writerow(column.name for column in orders.description or ())
    lines.writerows(orders)
