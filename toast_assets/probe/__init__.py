"""Asks a brand's own account which of the product's assumptions about Toast hold."""
