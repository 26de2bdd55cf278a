"""The optimizer ``acme`` for papermage_core."""
