"""The document processor ``example-plugin`` for papermage_core."""
