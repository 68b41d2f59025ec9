"""Answers to a question about one order."""
