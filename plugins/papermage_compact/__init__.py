"""The context encoder ``compact``: a small network over hashed word features, trained from scratch."""
