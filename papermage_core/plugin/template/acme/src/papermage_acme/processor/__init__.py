"""The document processor ``acme`` for papermage_core."""
