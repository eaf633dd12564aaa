"""The default runtime in bfloat16: the range of float32, so no loss scale; fast on GPUs from Ampere on and on CPUs."""

_base_ = ['./default_runtime.py']

bf16 = dict()
