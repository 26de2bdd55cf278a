"""The document reader ``acme`` for papermage_core."""
