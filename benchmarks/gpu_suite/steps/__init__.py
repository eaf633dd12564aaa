"""One module per step, each with ``run(step)``: see :class:`gpu_suite.child.Step`."""
