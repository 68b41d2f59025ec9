"""Orders as bytes, rows and files: pure functions, no network."""
