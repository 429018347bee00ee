"""Image encoders, and what they share: normalization, weight files, features of timm."""
