"""Log lines, and where the time of a run goes."""
