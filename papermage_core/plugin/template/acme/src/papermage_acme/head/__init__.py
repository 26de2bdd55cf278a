"""The model head ``acme`` for papermage_core."""
