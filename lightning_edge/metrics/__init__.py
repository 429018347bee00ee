"""Scores in the manner of torchmetrics."""
