"""Prediction of actions in recordings that belong to no data set."""
