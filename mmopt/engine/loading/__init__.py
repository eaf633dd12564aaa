"""Data loaders: how they are built, how many workers they have, and what happens when one dies."""
