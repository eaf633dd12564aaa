"""The same training, written for every trainer as its own documentation advises."""
