"""Bird's-eye-view segmentation."""
