"""Guests who asked to be forgotten, and data that has been kept long enough."""
