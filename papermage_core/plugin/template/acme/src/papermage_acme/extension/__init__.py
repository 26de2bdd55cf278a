"""The extension ``acme`` for papermage_core."""
