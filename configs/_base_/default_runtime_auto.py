"""The default runtime in the fastest precision that the device computes itself: bf16, else fp16, else fp32."""

_base_ = ['./default_runtime.py']

precision = 'auto'
