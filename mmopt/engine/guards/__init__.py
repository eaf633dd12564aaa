"""What watches a run: losses that are not finite, signals."""
