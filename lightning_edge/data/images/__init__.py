"""Reading, checking, scaling and augmenting images."""
