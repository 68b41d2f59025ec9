"""Measurements that hold the product to its promises; each module is run by itself and says what it measures."""
