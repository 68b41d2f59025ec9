"""Flat feeds for Amperity, as pure functions of the orders: rows, schemas, courier configuration."""
