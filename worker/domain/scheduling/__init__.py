"""When an order is polled next: when orders settle, what is learned about that, and the poll priority that follows.

`ages_and_observations` is the grid of ages, the settlement curve over it, and what is counted of orders. `learning`
folds that into a curve and `cohort_factors`, `poll_schedule` turns those into poll priorities and says when an order
competes again, `pick_by_priority` takes the orders of highest priority. `stored_json` keeps all of it as text.
"""
