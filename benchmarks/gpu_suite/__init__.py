"""The parts of ``benchmarks/gpu_suite.py``: what runs the steps, and in ``steps`` what each of them measures."""
