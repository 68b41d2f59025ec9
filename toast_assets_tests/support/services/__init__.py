"""What stands in for the outside world: services, browsers, databases, time."""
