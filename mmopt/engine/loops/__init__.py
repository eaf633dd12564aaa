"""Loops: when a step runs, when an evaluation, and where a resumed run goes on."""
