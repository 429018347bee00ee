"""Segmentation nets: DeepLab, and wrappers that make third-party nets branches of Accel."""
