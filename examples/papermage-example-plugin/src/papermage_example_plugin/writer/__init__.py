"""The document writer ``example-plugin`` for papermage_core."""
