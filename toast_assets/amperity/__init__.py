"""Amperity: its HTTP interfaces, the records sent to it, and the ledger. Knows neither Dagster nor Toast."""
