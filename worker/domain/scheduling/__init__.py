"""When an order is polled next: when orders settle, what is learned about that, and the poll priority that follows.

`ages` is the grid of ages, and the settlement curve over it. `observing` counts what happens to orders, `learning`
folds that into a curve and `cohort_factors`, `poll_schedule` turns those into poll priorities and says when an order
competes again, `pick_by_priority` takes the orders of highest priority. `stored_json` keeps all of it as text.
"""
