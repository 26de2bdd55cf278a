"""The metric ``acme`` for papermage_core."""
