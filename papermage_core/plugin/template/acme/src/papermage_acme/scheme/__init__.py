"""The label scheme ``acme`` for papermage_core."""
