"""Reports of runs: one HTML file that opens offline, from what runs wrote into their work dirs."""
