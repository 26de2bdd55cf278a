"""Components ``acme`` for papermage_core, each kind in a folder of its own."""
