"""``head=span``: overlapping, nested and discontinuous entities."""
