"""Proofs over the whole pipeline: kills, faults, paused runs, odd input, moving orders."""
