"""Input-blind baselines: the best that can be said without looking at the input, task by task."""
