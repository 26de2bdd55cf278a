"""The built-in document readers."""
