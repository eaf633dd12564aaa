"""A run from its first look to its summary."""
