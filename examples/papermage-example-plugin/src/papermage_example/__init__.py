"""A head, an encoder and an extension for papermage_core."""
