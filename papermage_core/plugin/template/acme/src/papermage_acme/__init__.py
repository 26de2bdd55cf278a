"""What ``papermage-plugins new`` writes: a component of each kind, in a folder each."""
