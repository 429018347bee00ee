"""Efficient deep learning at the edge, as parts that plug into PyTorch Lightning."""
