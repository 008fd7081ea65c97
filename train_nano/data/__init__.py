"""Generators of training and evaluation samples, one file a task family."""
