"""Buckets with something in them, and what should be in them."""
