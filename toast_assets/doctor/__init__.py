"""Checks of every credential and permission before the first run; nothing is moved, and nothing stays behind."""
