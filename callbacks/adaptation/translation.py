"""Adaptation by generated images: source images in the style of the target, or pairs of images from noise."""

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks._training.step_random import step_generator
from callbacks.adaptation._layers import NamedLayer, num_inputs
from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair, pooled, single_images
from lightning_edge.checks import check_at_least, check_whole_at_least
from lightning_edge.contracts import ComputesLoss
from lightning_edge.nn.adaptation.discriminators import MapDiscriminator
from lightning_edge.nn.adaptation.frozen import frozen, with_fixed_buffers
from lightning_edge.nn.adaptation.generators import CoupledGenerators
from lightning_edge.nn.adaptation.translators import ImageTranslator
from lightning_edge.ops.adaptation.adversarial import domain_cross_entropy, domain_loss
from lightning_edge.ops.precision import at_least_float32


class CyCADA(AdaptationLoss):
    """Trains on source images that are translated to the target, with the source's labels (arXiv:1711.03213).

    Two translators and two discriminators of images learn beside the module. Translated images deceive the
    discriminator of their new domain, translate back to the original, and the module predicts for them what it predicts
    for the original. Only the module's loss on the translated images changes the module.

    In the paper the parts are trained one after the other, a net that is trained on the source alone judges what
    translations show, and the features are aligned too. Here everything is trained at once, the module itself judges,
    and another callback, such as :class:`~callbacks.adaptation.adversarial.DANN`, aligns features. The translators are
    small.

    ================  =======================================================================  ====
    key               meaning                                                                  unit
    ================  =======================================================================  ====
    ``train/cycada``  weighted loss on the translated images, and the losses of translators    -
                      and discriminators
    ================  =======================================================================  ====

    Args:
        weight: Factor of the module's loss on the translated images. All other nets learn at full rate.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        cycle_weight: Factor of the mean absolute error of images that were translated back.
        semantic_weight: Factor of the cross-entropy of the predictions for translated images.
        base_channels: Number of channels of the translators, and of the first layer of the discriminators.
        ramp: Whether the weight rises in the course of training. The first translations are poor.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range. Later: the module is no method with a ``loss`` for any batch, or the
            batches are no single images of 8x8 or more.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        cycle_weight: float = 10.0,
        semantic_weight: float = 1.0,
        base_channels: int = 16,
        ramp: bool = True,
        name: str = "cycada",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        check_at_least(0, cycle_weight=cycle_weight, semantic_weight=semantic_weight)
        check_whole_at_least(1, base_channels=base_channels)
        self.cycle_weight = cycle_weight
        self.semantic_weight = semantic_weight
        self.base_channels = base_channels

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not isinstance(pl_module, ComputesLoss):
            raise ValueError(
                "expected a Method, or a module with loss(batch), loss_terms and loss_weight, because CyCADA computes "
                f"its loss on translated images, got {type(pl_module).__name__}"
            )
        super().setup(trainer, pl_module, stage)

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        nets: dict[str, nn.Module] = {}
        for domain in ("source", "target"):
            nets[f"to_{domain}"] = ImageTranslator(self.base_channels)
            nets[f"judge_{domain}"] = MapDiscriminator(3, self.base_channels, num_strides=3)
        return nn.ModuleDict(nets)

    @override
    def term(self, pair: Pair) -> Tensor:
        return self._translation_loss(pair) + super().term(pair)

    @override
    def loss(self, pair: Pair) -> Tensor:
        module: Any = self.domains.module
        key = self.domains.input_key
        with torch.no_grad():
            translated = self.nets["to_target"](pair.batch[key])
        with self.domains.statistics_of_target():
            return module.loss(pair.batch | {key: translated})

    def _translation_loss(self, pair: Pair) -> Tensor:
        """Losses of translators and discriminators, both ways."""
        source, target = single_images(pair.batch[self.domains.input_key]), single_images(pair.target_input)
        return self._one_way("source", "target", source, target, pair.source.outputs) + self._one_way(
            "target", "source", target, source, pair.target.outputs
        )

    def _one_way(self, start: str, end: str, images: Tensor, real: Tensor, logits: Tensor) -> Tensor:
        """Losses of the translation of images from one domain to the other.

        Args:
            start: Domain of the images.
            end: Domain to which they are translated.
            images: Images of the first domain.
            real: Images of the other domain.
            logits: What the module predicts for the images.
        """
        judge = self.nets[f"judge_{end}"]
        translated = self.nets[f"to_{end}"](images)
        discrimination = domain_loss(judge(real), judge(translated.detach()))
        deception = domain_cross_entropy(frozen(judge)(translated), is_source=True)
        cycle = F.l1_loss(self.nets[f"to_{start}"](translated), images)
        semantic = F.cross_entropy(at_least_float32(self._frozen_logits(translated)), logits.argmax(1))
        return discrimination + deception + self.cycle_weight * cycle + self.semantic_weight * semantic

    def _frozen_logits(self, images: Tensor) -> Tensor:
        """What the module predicts for images, which learn from it while it does not."""
        assert self._layer is not None
        batch = {self.domains.input_key: images}
        return self.domains.layer_outputs(self._layer.name, batch, frozen(self.domains.module)).outputs


class CoGAN(AdaptationLoss):
    """Trains features that tell real images from generated ones in both domains (coupled GANs, arXiv:1606.07536).

    Two generators make pairs of images from the same noise and share all layers but the last. The discriminators of
    both domains share the module, up to the layer, and have a linear layer each. So the classes are learned from
    features that serve both domains. Images are generated at 32x32 and resized to those of the data. Other than in the
    paper, the discriminators share all layers but the last, and the first is not their own.

    ===============  =======================================================================  ====
    key              meaning                                                                  unit
    ===============  =======================================================================  ====
    ``train/cogan``  losses of generators and discriminators, and the weighted one of the     -
                     features
    ===============  =======================================================================  ====

    Args:
        weight: Factor of the features' part of the discriminators' loss. All other nets learn at full rate.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        noise_size: Number of random values of a pair of images.
        base_channels: Number of channels of the generators' last shared layer.
        ramp: Whether the weight rises in the course of training.
        seed: Seed of the noise.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range. Later: the batches are no single images.
    """

    def __init__(
        self,
        weight: float = 0.1,
        layer: str | None = None,
        noise_size: int = 64,
        base_channels: int = 16,
        ramp: bool = False,
        seed: int = 0,
        name: str = "cogan",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        check_whole_at_least(1, noise_size=noise_size, base_channels=base_channels)
        check_whole_at_least(0, seed=seed)
        self.noise_size = noise_size
        self.base_channels = base_channels
        self.seed = seed

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        heads = {f"judge_{domain}": nn.Linear(num_inputs(layer), 1) for domain in ("source", "target")}
        return nn.ModuleDict({"generators": CoupledGenerators(self.noise_size, self.base_channels), **heads})

    @override
    def loss(self, pair: Pair) -> Tensor:
        return self._games(pair, 1.0)

    @override
    def term(self, pair: Pair) -> Tensor:
        return self._games(pair, self.strength(pair.progress))

    def _games(self, pair: Pair, strength: float) -> Tensor:
        """The games of both domains, from one noise."""
        images = single_images(pair.batch[self.domains.input_key]), single_images(pair.target_input)
        generator = step_generator(self.domains.trainer, self.state_key, self.seed)
        noise = torch.randn(len(images[0]), self.noise_size, generator=generator)
        generated = self.nets["generators"](noise.to(images[0]))
        parts = zip(("source", "target"), (pair.source, pair.target), images, generated, strict=True)
        return sum(
            (
                self._game(domain, pooled(outputs.features), _resized(fake, real), strength)
                for domain, outputs, real, fake in parts
            ),
            torch.zeros((), device=noise.device),
        )

    def _game(self, domain: str, real: Tensor, generated: Tensor, strength: float) -> Tensor:
        """Losses of the generator, the last layer of the discriminator, and the features, in one domain.

        Args:
            domain: Name of the domain.
            real: Features of the images of the data.
            generated: Generated images.
            strength: Factor of the features' part.
        """
        head, module = self.nets[f"judge_{domain}"], self.domains.module
        fake = self._features(generated.detach(), with_fixed_buffers(module))
        discrimination = domain_loss(head(real.detach())[:, 0], head(fake.detach())[:, 0])
        of_features = domain_loss(frozen(head)(real)[:, 0], frozen(head)(fake)[:, 0])
        judged = frozen(head)(self._features(generated, frozen(module)))[:, 0]
        return discrimination + strength * of_features + domain_cross_entropy(judged, is_source=True)

    def _features(self, images: Tensor, net: Any) -> Tensor:
        assert self._layer is not None
        batch = {self.domains.input_key: images}
        return pooled(self.domains.layer_outputs(self._layer.name, batch, net).features)


def _resized(images: Tensor, like: Tensor) -> Tensor:
    if images.shape[-2:] == like.shape[-2:]:
        return images
    return F.interpolate(images, like.shape[-2:], mode="bilinear", antialias=True)
