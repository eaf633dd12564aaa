"""Models and data sets of libraries that are built on MMEngine."""
