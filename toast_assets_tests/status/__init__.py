"""Status and settling."""
