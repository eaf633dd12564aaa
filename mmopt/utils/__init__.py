"""Helpers that know nothing of mmopt: memory, seeding, distribution, terminal."""
