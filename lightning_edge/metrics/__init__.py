"""Metrics in the style of torchmetrics."""
