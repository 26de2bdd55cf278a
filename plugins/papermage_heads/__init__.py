"""The built-in model heads: ``linear``, ``crf`` and ``span``."""
