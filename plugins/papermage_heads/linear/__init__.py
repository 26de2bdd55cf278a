"""``head=linear``: each unit for itself."""
