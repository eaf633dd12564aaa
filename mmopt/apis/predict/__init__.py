"""Predict pictures with a trained model: where they come from, how they are predicted, what is written."""
