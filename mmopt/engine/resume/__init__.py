"""Going on with a run: what its checkpoint says of it, what has changed since, and what of that takes effect."""
