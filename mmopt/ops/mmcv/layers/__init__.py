"""What layers and losses of mmcv compute."""
