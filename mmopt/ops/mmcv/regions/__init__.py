"""Features of regions, pooled as mmcv does."""
