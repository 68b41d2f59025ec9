"""What tests of several parts share: sandboxes, stores, clients that do not wait."""
