"""What the callbacks that watch a training share."""
