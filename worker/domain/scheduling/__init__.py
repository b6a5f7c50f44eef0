"""What a look at an order is worth: when orders settle, what is learned of it, and the price that follows.

`ages` cuts time into bins, `curve` says which share of orders has settled by which age, `learning` learns that curve,
`prices` turns it into the worth of polling an order now, `batch` takes the orders that are worth most, and `due`
says from when on an order competes for a place.
"""
