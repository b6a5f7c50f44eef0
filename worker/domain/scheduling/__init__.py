"""When an order is polled next: when orders settle, what is learned about that, and the poll priority that follows.

`ages` is the grid of ages. `observing` counts what happens to orders, `learning` folds that into a `settlement_curve`
and `cohort_factors`, `poll_schedule` turns those into poll priorities, `fill_batch` takes the orders of highest
priority, `due_times` says when an order competes again. `stored_json` keeps all of it as text.
"""
