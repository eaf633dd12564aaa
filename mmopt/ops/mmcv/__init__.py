"""The ops that mmcv compiles, as plain PyTorch functions with mmcv's numbers: for every device, differentiable."""
