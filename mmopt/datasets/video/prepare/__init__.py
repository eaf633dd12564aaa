"""Driver recordings, checked and divided into folds."""
