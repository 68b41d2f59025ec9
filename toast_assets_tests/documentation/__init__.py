"""README and docs, held to the code."""
