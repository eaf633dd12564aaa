"""Metrics of temporal action detection."""
