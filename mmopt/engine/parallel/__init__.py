"""Several processes: wrappers, sharding, batch statistics."""
