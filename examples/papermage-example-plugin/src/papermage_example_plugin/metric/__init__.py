"""The metric ``example-plugin`` for papermage_core."""
