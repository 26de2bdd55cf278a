"""The optimizer ``example-plugin`` for papermage_core."""
