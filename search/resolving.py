"""Resolving: the spec with every "auto" replaced by what it means for this data and device."""

from typing import TypeVar

import torch

from pareconv.search.data.batches import statistics
from pareconv.search.data.images import Images
from pareconv.search.data.splits import resolve_fraction
from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import PRESETS, Augment, Dataset, Distill, JobSpec, Normalize, Teacher

# Measured for warm-started students at batch 64 (docs/search.md); scaled with the batch.
_LR_PER_IMAGE = 0.005 / 64
_BATCH = 64

DistillT = TypeVar("DistillT", bound=Distill)


def resolve(spec: JobSpec, images: Images) -> JobSpec:
    """The same job, spelt out. Raises InvalidSpec where the device asked for is not there."""
    return spec.model_copy(
        update={
            "teacher": _teacher(spec.teacher, images),
            "dataset": _dataset(spec.dataset, images),
            "search": spec.search.model_copy(update={"sampler": _sampler(spec.search.sampler)}),
            "distill": _distill(spec.distill),
            "finish": _distill(spec.finish),
            "device": _device(spec.device),
        }
    )


def _teacher(teacher: Teacher, images: Images) -> Teacher:
    normalize = teacher.normalize
    if normalize == "auto":
        mean, std = statistics(images.train_images)
        normalize = Normalize(mean=mean, std=std)
    elif isinstance(normalize, str):
        normalize = Normalize(**PRESETS[normalize])
    return teacher.model_copy(update={"normalize": normalize, "num_classes": len(images.classes)})


def _dataset(dataset: Dataset, images: Images) -> Dataset:
    augment: Augment = "crop" if dataset.source == "digits" else "crop-flip"
    fraction = dataset.validation_fraction
    return dataset.model_copy(
        update={
            "image_size": images.image_size,
            "augment": augment if dataset.augment == "auto" else dataset.augment,
            "validation_fraction": (
                resolve_fraction(len(images.train_labels)) if fraction == "auto" else fraction
            ),
        }
    )


def _sampler(sampler: str) -> str:
    return "tpe" if sampler == "auto" else sampler


def _distill(distill: DistillT) -> DistillT:
    batch = _BATCH if distill.batch_size == "auto" else distill.batch_size
    lr = batch * _LR_PER_IMAGE if distill.lr == "auto" else distill.lr
    return distill.model_copy(update={"batch_size": batch, "lr": lr})


def _device(device: str) -> str:
    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise InvalidSpec("device", f'{device}: no CUDA device is there; use "cpu" or "auto"')
    return device
