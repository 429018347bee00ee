"""Efficient deep learning at the edge, as components for PyTorch Lightning."""
