"""Prediction of behaviors in recordings that belong to no data set."""
