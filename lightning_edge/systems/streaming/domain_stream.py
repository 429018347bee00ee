"""A stream that is served by a plain net of its present domain, and goes on while the net of the next one is made."""

import copy
from collections.abc import Iterator
from itertools import islice
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.contracts import Detector
from lightning_edge.nn.dynamic.conversion import domain_layers, specialize
from lightning_edge.systems.streaming.domain_watcher import DomainWatcher
from lightning_edge.systems.streaming.frame_check import check_frame


class DomainStream:
    """Runs a net with experts on one frame at a time, as a plain net specialized to the domain that it has noticed.

    There are two plain nets. One serves; into the other the weights of a newly noticed domain are mixed, a few layers
    with each frame, and when it is whole they change places. So each frame is served by a whole net, and none has to
    wait for a specialization.

    Args:
        net: Detector or classifier with :class:`~lightning_edge.nn.dynamic.experts.DomainConv2d`; used as it is, and
            put in evaluation mode.
        encoder: Frozen; maps images ``[1, 3, H, W]`` in [0, 1] to features ``[1, features]``, those of the watcher's
            centers.
        watcher: Notices the domain; its centers are in the order of ``embeddings``.
        embeddings: What the net is told of each domain, ``[domains, features]``.
        layers_per_frame: Layers that are mixed with a frame; 0 mixes all at once.

    Raises:
        ValueError: There are not as many embeddings as centers, or the net has no experts.
    """

    def __init__(
        self,
        net: nn.Module,
        encoder: nn.Module,
        watcher: DomainWatcher,
        embeddings: Float[Tensor, "domains features"],
        layers_per_frame: int = 4,
    ) -> None:
        if len(embeddings) != len(watcher.centers):
            raise ValueError(f"expected an embedding for each center ({len(watcher.centers)}), got {len(embeddings)}")
        if layers_per_frame < 0:
            raise ValueError(f"expected layers_per_frame of at least 0, got {layers_per_frame}")
        self.net, self.encoder, self.watcher, self.embeddings = net.eval(), encoder.eval(), watcher, embeddings
        self.layers_per_frame = layers_per_frame
        self._layers = domain_layers(net)
        self._serving = specialize(net, embeddings[0])
        self._spare = copy.deepcopy(self._serving)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the first frame decides on the domain, and waits for its net."""
        self.watcher.reset()
        self.domain: int | None = None
        """Domain whose net serves; ``None`` before the first frame."""
        self.num_frames = self.num_switches = 0
        self.watching_s = self.mixing_s = 0.0
        """Time spent so far on noticing domains and on mixing weights, seconds."""
        self._coming: int | None = None
        self._work: Iterator[None] = iter(())

    @torch.inference_mode()
    def __call__(self, frame: Tensor) -> Any:
        """What the serving net finds in the next frame: detections, or scores of classes.

        Args:
            frame: Image ``[3, height, width]`` in [0, 1], of the net's type of numbers and on its device.

        Raises:
            ValueError: The frame is no such image; the stream stays as it was.
        """
        image, _ = check_frame(frame, self._serving)
        start = perf_counter()
        noticed = self.watcher(self.encoder(image)[0])
        self.watching_s += perf_counter() - start
        self._follow(noticed)
        self.num_frames += 1
        serving = self._serving
        return serving.detect(image)[0] if isinstance(serving, Detector) else serving(image)[0]

    @torch.inference_mode()
    def switch_to(self, domain: int) -> None:
        """Serve a domain from the next frame on, for one who knows; the watcher goes on from there.

        Args:
            domain: Its number.

        Raises:
            ValueError: There is no such domain; nothing changes then.
        """
        if not 0 <= domain < len(self.embeddings):
            raise ValueError(f"expected domain of at least 0 and below {len(self.embeddings)}, got {domain}")
        self.watcher.reset_to(domain)
        self._begin(domain)
        self._go_on(len(self._layers) + 1)

    def _follow(self, noticed: int) -> None:
        if noticed != (self.domain if self._coming is None else self._coming):
            self._begin(noticed)
        if self._coming is not None:
            is_first = self.domain is None
            self._go_on(self.layers_per_frame if self.layers_per_frame and not is_first else len(self._layers) + 1)

    def _begin(self, domain: int) -> None:
        self._coming = None if domain == self.domain else domain
        self._work = iter(()) if self._coming is None else self._mix_into_spare(self.embeddings[domain])

    def _go_on(self, num_layers: int) -> None:
        if self._coming is None:
            return
        start = perf_counter()
        num_done = sum(1 for _ in islice(self._work, num_layers))
        self.mixing_s += perf_counter() - start
        if num_done < num_layers:
            self._serving, self._spare = self._spare, self._serving
            self.num_switches += self.domain is not None
            self.domain, self._coming = self._coming, None

    def _mix_into_spare(self, embedding: Float[Tensor, " features"]) -> Iterator[None]:
        for name, layer in self._layers.items():
            plain = self._spare.get_parameter(f"{name}.weight")
            plain.data.copy_(layer.mixed_weight(embedding.to(plain)[None])[0])
            yield
