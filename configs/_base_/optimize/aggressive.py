"""A card of 6 GB in a machine of 8 GB: standard, and blocks computed twice instead of kept."""

optimize = dict(
    precision='fp16',
    micro_batch='auto',
    checkpointing='blocks',  # a block keeps its input only, for one more forward pass
    max_workers=2,
)
