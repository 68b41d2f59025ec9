"""Invented orders, and readers of the files that the project ships."""
