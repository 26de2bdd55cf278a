"""The model head ``example-plugin`` for papermage_core."""
