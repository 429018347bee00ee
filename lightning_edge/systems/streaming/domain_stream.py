"""Run a plain net for the current domain of a stream, while the net for the next domain is prepared."""

import copy
from collections.abc import Iterator
from itertools import islice
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_at_least
from lightning_edge.contracts import Detector
from lightning_edge.nn.dynamic.conversion import domain_layers, specialize
from lightning_edge.systems.streaming.domain_watcher import DomainWatcher
from lightning_edge.systems.streaming.frame_check import check_frame


class DomainStream:
    """Runs a net with experts on one frame at a time, as a plain net specialized to the detected domain.

    There are two plain nets. One processes the frames. When another domain is detected, its weights are mixed into the
    other net, a few layers per frame, and then the two nets are swapped. So every frame is processed by a complete
    net, and no frame has to wait until a net is specialized.

    Args:
        net: Detector or classifier with layers :class:`~lightning_edge.nn.dynamic.experts.DomainConv2d`. It is not
            copied, and is set to evaluation mode.
        encoder: Frozen encoder that maps images ``[1, 3, H, W]`` in [0, 1] to features ``[1, features]``. The centers
            of the watcher must be means of the same features.
        watcher: Watcher that detects the domain. Its centers must be in the order of ``embeddings``.
        embeddings: Embedding of each domain, as the net takes it, ``[domains, features]``.
        layers_per_frame: Number of layers whose weights are mixed per frame. 0 mixes all layers at once.

    Raises:
        ValueError: The numbers of embeddings and centers differ, ``layers_per_frame`` is negative, or the net has no
            experts.
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
        check_at_least(0, layers_per_frame=layers_per_frame)
        self.net, self.encoder, self.watcher, self.embeddings = net.eval(), encoder.eval(), watcher, embeddings
        self.layers_per_frame = layers_per_frame
        self._layers = domain_layers(net)
        self._serving = specialize(net, embeddings[0])
        self._spare = copy.deepcopy(self._serving)
        self.reset()

    def reset(self) -> None:
        """Start a new stream: the next frame determines the domain, and waits until its net is specialized."""
        self.watcher.reset()
        self.domain: int | None = None
        """Number of the domain whose net processes the frames; ``None`` before the first frame."""
        self.num_frames = self.num_switches = 0
        self.watching_s = self.mixing_s = 0.0
        """Time spent so far on detecting domains and on mixing weights, in seconds."""
        self._next_domain: int | None = None
        self._work: Iterator[None] = iter(())

    @torch.inference_mode()
    def __call__(self, frame: Tensor) -> Any:
        """Output of the current net for the next frame: detections, or logits of classes.

        Args:
            frame: Image ``[3, height, width]`` in [0, 1], with the dtype and on the device of the net.

        Raises:
            ValueError: The frame is not such an image. The stream is not changed.
        """
        image, _ = check_frame(frame, self._serving)
        start = perf_counter()
        detected = self.watcher(self.encoder(image)[0])
        self.watching_s += perf_counter() - start
        self._follow(detected)
        self.num_frames += 1
        serving = self._serving
        return serving.detect(image)[0] if isinstance(serving, Detector) else serving(image)[0]

    @torch.inference_mode()
    def switch_to(self, domain: int) -> None:
        """Switch to a known domain from the next frame on; the watcher continues from this domain.

        Args:
            domain: Number of the domain.

        Raises:
            ValueError: There is no domain of this number. The stream is not changed.
        """
        if not isinstance(domain, int) or not 0 <= domain < len(self.embeddings):
            raise ValueError(
                f"expected domain as an index of at least 0 and below {len(self.embeddings)}, got {domain!r}"
            )
        self.watcher.reset_to(domain)
        self._start_switch(domain)
        self._mix_layers(len(self._layers) + 1)

    def _follow(self, detected: int) -> None:
        if detected != (self.domain if self._next_domain is None else self._next_domain):
            self._start_switch(detected)
        if self._next_domain is not None:
            is_first = self.domain is None
            self._mix_layers(self.layers_per_frame if self.layers_per_frame and not is_first else len(self._layers) + 1)

    def _start_switch(self, domain: int) -> None:
        self._next_domain = None if domain == self.domain else domain
        self._work = iter(()) if self._next_domain is None else self._mix_into_spare(self.embeddings[domain])

    def _mix_layers(self, num_layers: int) -> None:
        if self._next_domain is None:
            return
        start = perf_counter()
        num_done = sum(1 for _ in islice(self._work, num_layers))
        self.mixing_s += perf_counter() - start
        if num_done < num_layers:
            self._serving, self._spare = self._spare, self._serving
            self.num_switches += self.domain is not None
            self.domain, self._next_domain = self._next_domain, None

    def _mix_into_spare(self, embedding: Float[Tensor, " features"]) -> Iterator[None]:
        for name, layer in self._layers.items():
            plain = self._spare.get_parameter(f"{name}.weight")
            plain.data.copy_(layer.mixed_weight(embedding.to(plain)[None])[0])
            yield
