"""The gzipped JSON exports: written from the raw orders, and read back."""
