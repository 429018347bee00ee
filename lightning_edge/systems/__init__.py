"""Inference systems, which do not need a trainer."""

from lightning_edge.systems.streaming.domain_stream import DomainStream as DomainStream
from lightning_edge.systems.streaming.domain_watcher import DomainWatcher as DomainWatcher
from lightning_edge.systems.streaming.keyframes import AdaptiveInterval as AdaptiveInterval
from lightning_edge.systems.streaming.keyframes import FixedInterval as FixedInterval
from lightning_edge.systems.streaming.keyframes import interval_within as interval_within
from lightning_edge.systems.streaming.known_domains import KnownDomains as KnownDomains
from lightning_edge.systems.streaming.video_stream import VideoStream as VideoStream
