"""Resolving: the spec with every "auto" replaced by what it means for this data and device."""

from typing import TypeVar

import torch

from pareconv.search.data.batches import statistics
from pareconv.search.data.images import Images
from pareconv.search.data.splits import resolve_fraction
from pareconv.search.distillation.registry import method
from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import (
    PRESETS,
    Augment,
    Dataset,
    Distill,
    JobSpec,
    Library,
    Normalize,
    Preparation,
    Teacher,
)
from pareconv.search.teaching import MOST_LR, rate

_BATCH = 64

# Block-wise: images per step, and of the first rung. A GPU is idle with the batch of a CPU; with
# four times the images it makes as many steps, where fewer would teach less (docs/how-it-works.md).
_BLOCKWISE = {"cpu": (64, 2048), "cuda": (256, 8192)}
_BLOCKWISE_LR = 0.001 / 64**0.5  # of Adam, times the square root of the batch

_TRAINING = 30.0, 0.1  # epochs and learning rate
_FINE_TUNING = 5.0, 0.01

_PASSES = 4  # over the training images with views that were not shown before

DistillT = TypeVar("DistillT", bound=Distill)


def resolve(spec: JobSpec, images: Images, preparation: Preparation = "none") -> JobSpec:
    """The same job, spelt out, of a teacher that needs this before it teaches. Raises InvalidSpec
    where the device asked for is not there.
    """
    if spec.plan is not None:
        spec = spec.model_copy(update={"search": spec.search.model_copy(update={"trials": 1})})
    if needs_no_teacher(spec):
        spec = _without_teacher(spec)
    device = device_of(spec)
    return spec.model_copy(
        update={
            "teacher": _teacher(spec.teacher, images, preparation),
            "dataset": _dataset(spec.dataset, images),
            "library": spec.library and _library(spec.library, device),
            "search": spec.search.model_copy(update={"sampler": _sampler(spec.search.sampler)}),
            "distill": _distill(spec.distill, len(images.train_labels)),
            "finish": _distill(spec.finish, len(images.train_labels)),
            "device": device,
        }
    )


def needs_no_teacher(spec: JobSpec) -> bool:
    """Whether a teacher without weights need not be trained: the plan is given, and the finish
    builds its teacher as it goes.
    """
    finishing = method(spec.finish.method).of(spec.finish.parameters)
    has_weights = spec.teacher.weights is not None or spec.teacher.is_file
    return spec.plan is not None and not has_weights and finishing.online


def _without_teacher(spec: JobSpec) -> JobSpec:
    """Nothing is learnt from a teacher that knows nothing; everything has all to learn."""
    brief = spec.distill.model_copy(update={"method": "labels", "parameters": {}})
    return spec.model_copy(
        update={
            "library": None,
            "distill": _at_full_rate(brief),
            "finish": _at_full_rate(spec.finish),
        }
    )


def _at_full_rate(distill: DistillT) -> DistillT:
    lr = rate(MOST_LR, _batch_size(distill)) if distill.lr == "auto" else distill.lr
    return distill.model_copy(update={"lr": lr})


def _teacher(teacher: Teacher, images: Images, preparation: Preparation) -> Teacher:
    normalize = teacher.normalize
    if normalize == "auto":
        mean, std = statistics(images.train_images)
        normalize = Normalize(mean=mean, std=std)
    elif isinstance(normalize, str):
        normalize = Normalize(**PRESETS[normalize])
    epochs, lr = _FINE_TUNING if preparation == "fine-tuning" else _TRAINING
    asked = teacher.training
    training = asked.model_copy(
        update={
            "epochs": epochs if asked.epochs == "auto" else asked.epochs,
            "lr": lr if asked.lr == "auto" else asked.lr,
        }
    )
    return teacher.model_copy(
        update={
            "normalize": normalize,
            "num_classes": len(images.classes),
            "training": training,
        }
    )


def _dataset(dataset: Dataset, images: Images) -> Dataset:
    augment: Augment = "crop" if dataset.source == "digits" else "crop-flip"
    fraction = dataset.validation_fraction
    return dataset.model_copy(
        update={
            "image_size": images.image_size,
            "augment": augment if dataset.augment == "auto" else dataset.augment,
            "validation_fraction": (
                resolve_fraction(len(images.train_labels))
                if fraction == "auto" and images.validation_labels is None
                else fraction
            ),
        }
    )


def _library(library: Library, device: str) -> Library:
    batch, images = _BLOCKWISE["cuda" if device.startswith("cuda") else "cpu"]
    batch = batch if library.batch_size == "auto" else library.batch_size
    return library.model_copy(
        update={
            "batch_size": batch,
            "images": images if library.images == "auto" else library.images,
            "lr": _BLOCKWISE_LR * batch**0.5 if library.lr == "auto" else library.lr,
        }
    )


def _sampler(sampler: str) -> str:
    return "tpe" if sampler == "auto" else sampler


def _distill(distill: DistillT, num_images: int) -> DistillT:
    batch = _batch_size(distill)
    views = _PASSES * num_images if distill.views == "auto" else distill.views
    parameters = method(distill.method).complete(distill.parameters)
    return distill.model_copy(
        update={"batch_size": batch, "views": views, "parameters": parameters}
    )


def _batch_size(distill: Distill) -> int:
    return _BATCH if distill.batch_size == "auto" else distill.batch_size


def device_of(spec: JobSpec) -> str:
    """Raises InvalidSpec where the device asked for is not there."""
    device, available = spec.device, torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise InvalidSpec("device", f'{device}: no CUDA device is there; use "cpu" or "auto"')
    if ":" in device and int(device.split(":")[1]) >= (count := torch.cuda.device_count()):
        raise InvalidSpec(
            "device",
            f"{device}: a task sees {count} CUDA devices, counted from 0; "
            'use "cuda", or a worker with one slot, which sees all of them',
        )
    return device
