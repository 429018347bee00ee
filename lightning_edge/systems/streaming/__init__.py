"""Nets on a stream of frames: key frames, and weights that follow the domain."""
