"""Metrics of actions in videos."""
