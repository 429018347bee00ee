"""Dynamic convolutions: experts mixed by domain or by image."""
