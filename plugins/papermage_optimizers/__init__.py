"""The built-in optimizers."""
