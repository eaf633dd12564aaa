"""A card of 8 GB in a machine of 16 GB: half precision, and the largest micro-batch that fits.

Added to any config: _base_ = ['./the_config.py', '../_base_/optimize/standard.py']. The batch, its learning rate and
its schedule stay those of the config: where the batch does not fit, it is run in parts.
"""

optimize = dict(
    precision='fp16',  # half of the activations; bf16 where a model is unstable in fp16
    micro_batch='auto',
    max_workers=4,  # about 2 GB of host memory each where videos are decoded
)
