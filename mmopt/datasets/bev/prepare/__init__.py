"""Make the BEV layout from nuScenes or from a key frame: what ``tools/datasets/prepare_nuscenes.py`` calls."""
