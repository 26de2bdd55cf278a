"""The document reader ``example-plugin`` for papermage_core."""
