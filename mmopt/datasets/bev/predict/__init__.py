"""Prediction of bird's-eye-view maps from pictures that belong to no data set."""
