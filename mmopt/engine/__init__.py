"""Runner, loops, schedulers, checkpoints: what runs a model without knowing its task."""
