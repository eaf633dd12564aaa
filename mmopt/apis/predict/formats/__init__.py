"""What is written of predictions: a file of formats per task."""
