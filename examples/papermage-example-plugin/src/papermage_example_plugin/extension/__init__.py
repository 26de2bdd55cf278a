"""The extension ``example-plugin`` for papermage_core."""
