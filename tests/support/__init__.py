"""What the tests stand on: servers of their own, databases, brokers, and the services that were named to them."""
