"""Films: what of them is predicted, files and streams as sources, and the film that is written."""
