"""What goes wrong, on order."""
