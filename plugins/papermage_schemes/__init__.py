"""The built-in label schemes: ``bio``, ``io``, ``iob1``, ``bioes`` (also as ``bilou``) and ``span``."""
