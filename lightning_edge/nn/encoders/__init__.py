"""Image encoders and what they share: normalization, weight files and feature maps of timm models."""
