"""Optimizer wrappers: precision and accumulation."""
