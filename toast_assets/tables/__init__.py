"""Flat, typed Arrow tables out of raw orders."""
