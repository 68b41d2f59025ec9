"""Flat, typed Arrow tables out of raw orders, and what can be said about them: totals, schema drift."""
