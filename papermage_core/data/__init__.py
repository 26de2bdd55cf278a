"""From documents to batches: readers, alignment of gold to units, contexts, windows, batches, the feature cache."""
