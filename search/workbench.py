"""The workbench: a teacher and its data on the device, ready to try plans on."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, fx

from pareconv.models.graph import canonical
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.weights import load_weights
from pareconv.search.data.batches import Split, normalize
from pareconv.search.data.images import Images
from pareconv.search.data.sources import load
from pareconv.search.data.splits import split
from pareconv.search.references import References
from pareconv.search.seeds import derived
from pareconv.search.spec import JobSpec, Normalize
from pareconv.storage.settings import Settings

_SAMPLE = 256
_RECALIBRATION = 1024


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

    @property
    def sample(self) -> Tensor:
        """Normalised training images [N, 3, S, S] on which new layers are fitted, the same each
        time.
        """
        chosen = self.subset(_SAMPLE)
        return normalize(chosen.images, chosen.mean, chosen.std)

    @property
    def recalibration(self) -> Split:
        """Training images from which batch norm statistics are taken, the same each time."""
        return self.subset(_RECALIBRATION)

    def subset(self, size: int) -> Split:
        generator = torch.Generator().manual_seed(derived(self.spec.seed, "subset"))
        chosen = torch.randperm(len(self.train), generator=generator)[:size]
        return replace(
            self.train, images=self.train.images[chosen], labels=self.train.labels[chosen]
        )


def set_up(spec: JobSpec, weights: str) -> Workbench:
    """The workbench of a resolved spec and the SHA-256 of its teacher's weights; kept for the next
    call.
    """
    return _set_up(spec.model_dump_json(), weights)


@lru_cache(maxsize=1)
def _set_up(spec_json: str, weights: str) -> Workbench:
    spec = JobSpec.model_validate_json(spec_json)
    with References(Settings()) as references:
        images = load_images(spec, references)
        teacher = canonical(architecture(spec.teacher.architecture).build(len(images.classes)))
        with references.files.open(weights) as file:
            load_weights(teacher, load_safetensors(file.read()))
    return lay_out(spec, teacher, images)


def load_images(spec: JobSpec, references: References) -> Images:
    source = references.source(spec.dataset.source)
    return load(source, image_size=spec.dataset.image_size, cache=references.cache)


def lay_out(spec: JobSpec, teacher: fx.GraphModule, images: Images) -> Workbench:
    """Split the images and move all to the device of the resolved `spec`."""
    assert isinstance(spec.teacher.normalize, Normalize)  # resolved
    assert isinstance(spec.dataset.validation_fraction, float)
    statistics = spec.teacher.normalize.mean, spec.teacher.normalize.std
    train, validation = split(
        images.train_labels, spec.dataset.validation_fraction, derived(spec.seed, "split")
    )

    def part(pixels: Tensor, labels: Tensor) -> Split:
        return Split(pixels, labels, *statistics).to(spec.device)

    return Workbench(
        spec=spec,
        teacher=teacher.to(spec.device).eval().requires_grad_(False),
        classes=images.classes,
        train=part(images.train_images[train], images.train_labels[train]),
        validation=part(images.train_images[validation], images.train_labels[validation]),
        test=part(images.test_images, images.test_labels),
    )
