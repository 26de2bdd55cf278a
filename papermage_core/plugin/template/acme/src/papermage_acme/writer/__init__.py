"""The document writer ``acme`` for papermage_core."""
