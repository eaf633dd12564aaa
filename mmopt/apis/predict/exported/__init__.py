"""Prediction with exported graphs."""
