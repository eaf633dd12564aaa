"""Backbones and blocks that several tasks share."""
