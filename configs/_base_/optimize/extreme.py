"""A card of 4 GB in a machine of less than 8 GB: one sample at a time, nothing kept that can be computed again."""

optimize = dict(
    precision='fp16',
    micro_batch=1,  # not 'auto': finding a larger size would fill the card that others may need
    checkpointing='blocks',
    max_workers=0,
)
