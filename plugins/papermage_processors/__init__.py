"""The built-in document processors."""
