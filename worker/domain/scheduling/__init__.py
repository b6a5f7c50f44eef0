"""When an order is polled next: learn when orders settle, and derive poll priorities from that.

`ages_and_observations` defines the grid of ages, the settlement curve over it, and what is counted of orders.
`learning` turns these counts into a curve, and `cohort_factors` into factors. `poll_schedule` turns the curve and the
factors into poll priorities, and says when an order competes for a position in a query again. `pick_by_priority` picks
the orders of highest priority. `stored_json` converts all of this to text and back.
"""
