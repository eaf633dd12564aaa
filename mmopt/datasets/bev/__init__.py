"""nuScenes in the single-camera BEV layout."""
