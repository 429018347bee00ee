"""The command that runs a domain-aware net on sequences with changing light and weather."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from lightning_edge.checkpoints import with_weights
from lightning_edge.checks import check_at_least
from lightning_edge.contracts import Detections
from lightning_edge.data.domains.partitions import ImageRecord
from lightning_edge.data.drive import boxed_drive
from lightning_edge.data.formats.bdd100k import LabeledFrame
from lightning_edge.methods import Detection
from lightning_edge.metrics.average_precision import ScoredImage, ap50_by_domain, outer_edges
from lightning_edge.nn.dynamic.conversion import specialize
from lightning_edge.nn.dynamic.experts import DomainConv2d
from lightning_edge.systems.streaming.domain_stream import DomainStream
from lightning_edge.systems.streaming.domain_watcher import DomainWatcher
from lightning_edge.systems.streaming.known_domains import KnownDomains
from recipes.ddn._detection import check_detection
from recipes.ddn._stream_report import StreamScore, report_stream

_SEED = 90_000
"""Seed of the first world. The seeds of the sample data are drawn at random and do not overlap."""


class _Frame(NamedTuple):
    position: int
    """Index in its sequence."""
    domain: int
    """Index of the known domain that its attributes define."""
    image: Tensor
    truth: LabeledFrame


def stream(
    model: Any,
    datamodule: Any,
    ckpt_path: Path | None = None,
    static: Path | None = None,
    folder: Path = Path("runs/ddn_stream"),
    domains: tuple[str, ...] = ("day", "night", "rain"),
    num_frames: int = 60,
    num_drives: int = 4,
    window: int = 10,
    layers_per_frame: int = 4,
    encoder: str | None = None,
    weights: str | None = None,
) -> dict[str, float]:
    """Compare a net that detects changes of light and weather itself with one that is given the domain.

    The sequences are generated at 17 frames per second, and the domain changes from one frame to the next.
    ``stream.csv`` has the average precision over all sequences in each window of time, and ``stream.png`` shows it.

    Args:
        model: A detector with experts.
        datamodule: The data. Their training images define the known domains.
        ckpt_path: Checkpoint with the weights.
        static: Checkpoint of a static net for comparison, trained with
            ``--model.net.num_experts=1 --model.net.gate=softmax``.
        folder: Folder for the results.
        domains: Light and weather of each part of a sequence.
        num_frames: Number of frames of each part.
        num_drives: Number of sequences, each in its own world.
        window: Number of frames for one value of average precision.
        layers_per_frame: Number of layers whose weights are mixed during one frame; 0 mixes all layers at once.
        encoder: Encoder whose features identify the domain, see the command ``embed``.
        weights: File with the weights of the encoder, see the command ``embed``.

    Raises:
        ValueError: A number is less than 1, ``window`` does not divide ``num_frames``, or the data have no boxes.
    """
    check_at_least(1, num_frames=num_frames, num_drives=num_drives, window=window)
    if num_frames % window:
        raise ValueError(
            f"expected window to divide num_frames ({num_frames}), so that each window has one domain, got {window}"
        )

    check_detection(datamodule)
    net = with_weights(model, ckpt_path).net
    known = KnownDomains.from_images(datamodule.domain_images("train"), encoder, weights)
    streams = [_domain_stream(net, known, layers_per_frame) for _ in range(num_drives)]
    runners = _runners(net, known, streams, None if static is None else _static_net(static))
    drives = [_drive(_SEED + 100 * number, domains, num_frames, datamodule, known) for number in range(num_drives)]
    scored: dict[str, list[list[ScoredImage]]] = {name: [] for name in runners}
    detected, truth = [], []
    for frames in track(zip(*drives, strict=True), "frames", total=num_frames * len(domains), transient=True):
        for name, run in runners.items():
            scored[name].append([_scored(frame, run(number, frame)) for number, frame in enumerate(frames)])
        detected.append([one.domain for one in streams])
        truth.append([frame.domain for frame in frames])
    scores = [
        StreamScore(name, begin, _ap50(images[begin : begin + window]))
        for name, images in scored.items()
        for begin in range(0, len(images), window)
    ]
    return report_stream(scores, _delays(detected, truth, num_frames), streams, domains, num_frames, folder)


def _domain_stream(net: Any, known: KnownDomains, layers_per_frame: int) -> DomainStream:
    return DomainStream(net, known.encoder, DomainWatcher(known.centers), known.embeddings, layers_per_frame)


def _runners(
    net: Any, known: KnownDomains, streams: Sequence[DomainStream], static: Any
) -> "dict[str, Callable[[int, _Frame], Detections]]":
    """The nets to compare. Each takes the index of a sequence and the next frame of that sequence."""
    specialists = [specialize(net, embedding) for embedding in known.embeddings]

    @torch.inference_mode()
    def detect(plain: Any, frame: _Frame) -> Detections:
        return plain.detect(frame.image[None])[0]

    runners: dict[str, Callable[[int, _Frame], Detections]] = {}
    if static is not None:
        runners["static"] = lambda number, frame: detect(static, frame)
    runners["domain_known"] = lambda number, frame: detect(specialists[frame.domain], frame)
    runners["domain_detected"] = lambda number, frame: streams[number](frame.image)
    return runners


def _static_net(checkpoint: Path) -> Any:
    """The net of a training with one expert, converted to plain layers."""
    net = Detection.load_from_checkpoint(checkpoint, map_location="cpu").net.eval()
    experts = [layer for layer in net.modules() if isinstance(layer, DomainConv2d)]
    if not experts:
        return net
    if any(layer.num_experts > 1 for layer in experts):
        raise ValueError(
            f"expected static to be a checkpoint of a net with one expert, got {experts[0]} in {checkpoint}"
        )
    return specialize(net, experts[0].weight.new_zeros(experts[0].router.in_features))


def _drive(
    seed: int, domains: Sequence[str], num_frames: int, datamodule: Any, known: KnownDomains
) -> Iterator[_Frame]:
    height, width = datamodule.input_size
    for part, domain in enumerate(domains):
        frames = boxed_drive(seed + part, num_frames, height, width, domain)
        for number, (image, truth) in enumerate(frames):
            index = known.index_of(datamodule.domain_of(ImageRecord(truth.name, truth.attributes)))
            yield _Frame(part * num_frames + number, index, image, truth)


def _scored(frame: _Frame, detections: Detections) -> ScoredImage:
    truth = frame.truth
    boxes = torch.cat([torch.from_numpy(truth.boxes_xyxy), torch.from_numpy(truth.ignored_xyxy)])
    label = torch.cat([torch.from_numpy(truth.label), torch.from_numpy(truth.ignored_label)])
    is_ignored = (torch.arange(len(label)) >= len(truth.label)).long()
    # as in the evaluation of BDD100K
    detections = detections._replace(boxes_xyxy=outer_edges(detections.boxes_xyxy))
    return ScoredImage(frame.position, frame.domain, detections, outer_edges(boxes), label, is_ignored)


def _ap50(frames: Sequence[Sequence[ScoredImage]]) -> float:
    """Average precision over some frames of all sequences, in percent."""
    images = [image._replace(domain=0) for of_drives in frames for image in of_drives]
    return 100 * ap50_by_domain(images, ["all"]).get("all", float("nan"))


def _delays(
    detected: Sequence[Sequence[int | None]], truth: Sequence[Sequence[int]], num_frames: int
) -> list[list[int | None]]:
    """For each sequence, frames from each change of domain until its net is used; ``None`` if that never happens."""
    begins = range(num_frames, len(truth), num_frames)
    return [
        [
            next((step for step in range(num_frames) if detected[begin + step][drive] == truth[begin][drive]), None)
            for begin in begins
        ]
        for drive in range(len(truth[0]))
    ]
