"""The context encoder ``acme`` for papermage_core."""
