"""Trains recommenders on a released dataset. It knows the dataset's format, nothing of what made it."""
