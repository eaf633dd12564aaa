"""Frames of videos by number, exactly: shared by every task that reads videos."""
