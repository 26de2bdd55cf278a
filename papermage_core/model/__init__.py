"""Encoder and heads joined to one module."""
