"""What tools call."""
