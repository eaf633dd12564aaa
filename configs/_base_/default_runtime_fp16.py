"""The default runtime in half precision with the static loss scale of the original."""

_base_ = ['./default_runtime.py']

fp16 = dict(loss_scale=512.0)
