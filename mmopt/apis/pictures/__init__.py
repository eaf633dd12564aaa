"""Samples and predictions as pictures."""
