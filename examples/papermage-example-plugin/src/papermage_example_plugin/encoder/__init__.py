"""The context encoder ``example-plugin`` for papermage_core."""
