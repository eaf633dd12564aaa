"""Published weights of other code, renamed to the names of our models."""
