"""What stands for the names of mmcv 1.x that no library has any more. Imported name by name, when asked for."""
