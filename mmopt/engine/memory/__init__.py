"""Memory of a training step, known before it runs: tracer, simulated GPU, allocator model, cards, host.

``device``, ``autocast`` and ``kernels`` change torch for the whole process and are imported only by
``mmopt.engine.memory.simulate``, which runs in a process of its own (:mod:`mmopt.apis.memory.worker`).
"""
