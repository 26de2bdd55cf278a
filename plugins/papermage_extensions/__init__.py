"""The built-in extensions."""
