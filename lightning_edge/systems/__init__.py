"""Running systems that need no trainer."""

from lightning_edge.systems.video_stream import VideoStream as VideoStream
