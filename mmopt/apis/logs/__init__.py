"""What finished runs have left: curves and the time split."""
