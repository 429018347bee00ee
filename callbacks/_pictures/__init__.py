"""What the callbacks that write pictures share."""
