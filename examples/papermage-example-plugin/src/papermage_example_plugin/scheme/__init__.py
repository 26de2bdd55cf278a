"""The label scheme ``example-plugin`` for papermage_core."""
