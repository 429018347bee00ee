"""Running systems that need no trainer."""

from lightning_edge.systems.domain_stream import DomainStream as DomainStream
from lightning_edge.systems.domain_watcher import DomainWatcher as DomainWatcher
from lightning_edge.systems.keyframes import AdaptiveInterval as AdaptiveInterval
from lightning_edge.systems.keyframes import FixedInterval as FixedInterval
from lightning_edge.systems.keyframes import interval_within as interval_within
from lightning_edge.systems.known_domains import KnownDomains as KnownDomains
from lightning_edge.systems.video_stream import VideoStream as VideoStream
