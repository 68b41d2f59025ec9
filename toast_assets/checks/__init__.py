"""What the asset checks find out about a week."""
