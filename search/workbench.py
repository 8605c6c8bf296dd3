"""The workbench: a teacher and its data on the device, ready to try plans on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from pareconv.models.cost import count
from pareconv.models.graph import canonical
from pareconv.models.stages import stage_ends
from pareconv.search.answers import Answers
from pareconv.search.checkpoints import restore_weights
from pareconv.search.data.batches import Split, normalize
from pareconv.search.data.images import Images
from pareconv.search.data.imbalance import thinned
from pareconv.search.data.rows import Pixels
from pareconv.search.data.sources import load
from pareconv.search.data.views import Views
from pareconv.search.precision import channels_last
from pareconv.search.references import References
from pareconv.search.seeds import derived
from pareconv.search.spec import JobSpec, Normalize
from pareconv.search.teachers import teacher_architecture
from pareconv.storage.settings import Settings

_SAMPLE = 256
_RECALIBRATION = 512
_PROBE = 512


@dataclass(frozen=True, eq=False)
class Workbench:
    """What every candidate of a job needs.

    `spec` is resolved; the teacher is in eval mode, frozen.
    """

    spec: JobSpec
    teacher: fx.GraphModule
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    views: Views
    answers: Answers
    teacher_file: Path | None  # that holds its network, where that has no name

    @cached_property
    def sample(self) -> Tensor:
        """Normalised training images [N, 3, S, S] on which new layers are fitted, the same each
        time.
        """
        chosen = self._some(self.train, _SAMPLE)
        return normalize(chosen.images[:], chosen.mean, chosen.std)

    @cached_property
    def recalibration(self) -> Split:
        """Training images from which batch norm statistics are taken, the same each time."""
        return self._some(self.train, _RECALIBRATION)

    @cached_property
    def probe(self) -> Split:
        """A few validation images, for a first look."""
        return self.held_out(_PROBE)

    @cached_property
    def teacher_skill(self) -> float:
        """The teacher's accuracy on the probe."""
        return self.answers.accuracy(self.probe)

    def held_out(self, size: int) -> Split:
        """At most `size` validation images, the same each time."""
        return self._some(self.validation, size)

    @cached_property
    def teacher_flops(self) -> int:
        """For one image."""
        return self._flops(self.teacher)

    def ratio(self, network: nn.Module) -> float:
        """FLOPs of `network` over those of the teacher."""
        return self._flops(network) / self.teacher_flops

    def finishing_as(self, asked: Mapping[str, Any]) -> "Workbench":
        """The same bench, whose `finish` is in some fields as `asked`."""
        finish = self.spec.finish.model_copy(update=dict(asked))
        return replace(self, spec=self.spec.model_copy(update={"finish": finish}))

    def _flops(self, network: nn.Module) -> int:
        return count(network, 1, *self.train.images.shape[1:]).counted("flops")

    def _some(self, split: Split, size: int) -> Split:
        # At random: splits are in the order of their classes.
        generator = torch.Generator().manual_seed(derived(self.spec.seed, "subset"))
        chosen = torch.randperm(len(split), generator=generator)[:size]
        return replace(split, images=split.images[chosen], labels=split.labels[chosen])


def set_up(spec: JobSpec, weights: str) -> Workbench:
    """The workbench of a resolved spec and the SHA-256 of its teacher's weights; kept for the next
    call.
    """
    return _set_up(spec.model_dump_json(), weights)


def put_away() -> None:
    """Keep no workbench any longer."""
    _set_up.cache_clear()


@lru_cache(maxsize=1)
def _set_up(spec_json: str, weights: str) -> Workbench:
    spec = JobSpec.model_validate_json(spec_json)
    with References(Settings()) as references:
        images = load_images(spec, references)
        known = teacher_architecture(spec, references)
        teacher = canonical(known.build(len(images.classes)))
        restore_weights(teacher, weights, references.files)
    return lay_out(spec, teacher, images, known.file)


def load_images(spec: JobSpec, references: References) -> Images:
    source, asked = references.source(spec.dataset.source), spec.dataset
    images = load(source, image_size=asked.image_size, cache=references.cache)
    if asked.imbalance is None:
        return images
    return thinned(images, asked.imbalance, derived(spec.seed, "imbalance"))


def lay_out(
    spec: JobSpec, teacher: fx.GraphModule, images: Images, teacher_file: Path | None = None
) -> Workbench:
    """Split the images and move all to the device of the resolved `spec`."""
    assert isinstance(spec.teacher.normalize, Normalize)  # resolved
    statistics = spec.teacher.normalize.mean, spec.teacher.normalize.std
    if images.validation_labels is None:
        assert isinstance(spec.dataset.validation_fraction, float)
        images = images.held_out(spec.dataset.validation_fraction, derived(spec.seed, "split"))

    def part(pixels: Pixels | None, labels: Tensor | None) -> Split:
        assert pixels is not None
        assert labels is not None
        return Split(pixels, labels, *statistics).to(spec.device)

    teacher = channels_last(teacher.to(spec.device).eval().requires_grad_(False))
    shown = part(images.train_images, images.train_labels)
    return Workbench(
        spec=spec,
        teacher=teacher,
        classes=images.classes,
        train=shown,
        views=Views(shown, spec.dataset.augment, derived(spec.seed, "views")),  # type: ignore[arg-type]  # resolved
        answers=Answers(teacher, stage_ends(teacher, shown.images[:1].float())),
        validation=part(images.validation_images, images.validation_labels),
        test=part(images.test_images, images.test_labels),
        teacher_file=teacher_file,
    )
