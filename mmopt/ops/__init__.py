"""Pure tensor functions: no state, no registry."""
