"""The bucket: its layout, atomic objects, the manifest."""
