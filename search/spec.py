"""The job spec: everything a job is asked to do.

One pydantic model for REST, CLI and Python; no torch.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pareconv.models.cost_table import Objective
from pareconv.search.budget import Budget, Latency
from pareconv.search.data.torchvision_table import TORCHVISION_SETS
from pareconv.search.section import Section

Auto = Literal["auto"]
Triple = tuple[float, float, float]
Format = Literal["pt2", "onnx", "onnx-int8", "safetensors", "report"]
Augment = Literal["none", "crop", "crop-flip"]
Optimizer = Literal["muon", "sgd"]
Preparation = Literal["none", "fine-tuning", "training"]  # of a teacher, before it teaches
# How the name of a file ends.
EXTENSIONS: dict[Format, str] = {
    "pt2": "pt2",
    "onnx": "onnx",
    "onnx-int8": "int8.onnx",
    "safetensors": "safetensors",
    "report": "html",
}
ParameterValue = bool | int | float | str

_REFERENCE_TO_TEACHER = re.compile(r"default|teacher:[\w-]+|file:.+")
_REFERENCE_TO_DATASET = re.compile(
    rf"digits|dataset:[\w-]+|file:.+|({'|'.join(TORCHVISION_SETS)}):.+"
)

_FORMER = {"temperature", "alpha", "beta"}

PRESETS: dict[str, dict[str, Triple]] = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "cifar10": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)},
}


_SCALE = "images are from 0 to 1: divide statistics of pixels from 0 to 255 by 255"


class Normalize(Section):
    """Per-channel statistics of the input, for images scaled to [0, 1]."""

    mean: Triple = Field(description="subtracted per channel (red, green, blue)")
    std: Annotated[Triple, Field(description="divided by, per channel; each above 0")]

    @field_validator("mean")
    @classmethod
    def _within(cls, mean: Triple) -> Triple:
        if min(mean) < 0 or max(mean) > 1:
            raise ValueError(f"every mean must be from 0 to 1, got {list(mean)}; {_SCALE}")
        return mean

    @field_validator("std")
    @classmethod
    def _positive(cls, std: Triple) -> Triple:
        if min(std) <= 0 or max(std) > 1:
            raise ValueError(f"every std must be above 0, at most 1, got {list(std)}; {_SCALE}")
        return std


class Training(Section):
    """How a teacher is trained that has no weights, or a head of other classes: SGD with Nesterov
    momentum, one cosine cycle.
    """

    epochs: float | Auto = Field(
        "auto",
        description="passes over the training split, above 0 to 1000; `auto` is 30, and 5 where a "
        "new head is trained along with weights",
    )
    batch_size: int = Field(128, ge=2, le=8192, description="images per step")
    lr: float | Auto = Field(
        "auto", description="peak learning rate; `auto` is 0.1, and 0.01 beside weights"
    )
    weight_decay: float = Field(5e-4, ge=0, le=1, description="L2 penalty")

    @field_validator("epochs")
    @classmethod
    def _epochs(cls, epochs: float | str) -> float | str:
        if not isinstance(epochs, str) and not 0 < epochs <= 1000:
            raise ValueError(f"{epochs} is outside 0 (excluded) to 1000")
        return epochs

    @field_validator("lr")
    @classmethod
    def _lr(cls, lr: float | str) -> float | str:
        return _check_lr(lr)


class Teacher(Section):
    """The network to compress."""

    architecture: str = Field(
        min_length=1,
        max_length=200,
        description="a name from GET /architectures; or the network in an ONNX or .pt2 file, "
        "`teacher:<id>` (uploaded) or `file:<path>` (on the server, under an allowed root), which "
        "brings its own weights",
        examples=["cifar_resnet20"],
    )
    weights: str | None = Field(
        None,
        description="`teacher:<id>` (uploaded), `file:<path>` (on the server, under an allowed "
        "root), `default` (the library's own pretrained weights), or null: train first. Weights of "
        "other classes than the data's get a new head and are trained further",
    )
    num_classes: int | None = Field(
        None, ge=2, le=100_000, description="classes of the head; null takes the data set's"
    )
    normalize: Normalize | Literal["auto", "imagenet", "cifar10"] = Field(
        "auto",
        description="input statistics; `auto` takes those that `default` weights want, of other "
        "weights those of the customary ones with which the teacher is most accurate on validation "
        "images, and computes them from the training images for a teacher that is trained here",
    )
    training: Training = Field(
        default_factory=Training, description="recipe for a teacher without weights"
    )

    @property
    def is_file(self) -> bool:
        """Whether a file holds the network, with weights of its own."""
        return self.architecture.startswith(("teacher:", "file:"))

    @field_validator("weights")
    @classmethod
    def _reference(cls, weights: str | None) -> str | None:
        if weights is not None and not _REFERENCE_TO_TEACHER.fullmatch(weights):
            raise ValueError(
                f"{weights!r} is none of teacher:<id>, file:<path>, default; "
                "upload a file with POST /teachers and use the id it answers"
            )
        return weights


def is_reference_to_dataset(source: str) -> bool:
    """Whether it is of a form that `dataset.source` takes; a bare path is not."""
    return _REFERENCE_TO_DATASET.fullmatch(source) is not None


class Dataset(Section):
    """The images to compress it on. The test split is touched once, for a finalist."""

    source: str = Field(
        description="`dataset:<id>` (uploaded), `file:<path>` (a folder of images, a zip or tar of "
        "one, or a numpy archive, on the server, under an allowed root), `digits`, or a data set "
        f"of torchvision that lies there, `<name>:<path>` ({', '.join(TORCHVISION_SETS)})",
        examples=["digits"],
    )
    image_size: int | Auto = Field(
        "auto",
        description="side in pixels, 8 to 1024; `auto` keeps the images' own (digits: 32), or "
        "scales them to what `default` weights want",
    )
    augment: Augment | Auto = Field(
        "auto",
        description="random views of the training images; `auto`: crop for digits, "
        "crop-flip otherwise",
    )
    validation_fraction: float | Auto = Field(
        "auto",
        description="share of the training split held out, stratified, 0.001 to 0.5; "
        "`auto`: 2,000 images, at most a fifth, and none where the data set brings a validation "
        "split of its own",
    )
    imbalance: float | None = Field(
        None,
        gt=0,
        le=1,
        description="makes a long tail of the training images, for experiments: class k of K, in "
        "the order of their names, keeps the share imbalance^(k / (K - 1)) of the largest",
    )

    @field_validator("source")
    @classmethod
    def _reference(cls, source: str) -> str:
        if not is_reference_to_dataset(source):
            raise ValueError(
                f"{source!r} is none of dataset:<id>, file:<path>, digits, and <name>:<path> with "
                f"one of the names {', '.join(TORCHVISION_SETS)}; upload an archive "
                "with POST /datasets and use the id it answers"
            )
        return source

    @field_validator("image_size")
    @classmethod
    def _size(cls, size: int | str) -> int | str:
        if isinstance(size, int) and not 8 <= size <= 1024:
            raise ValueError(f"{size} is outside 8 to 1024 pixels")
        return size

    @field_validator("validation_fraction")
    @classmethod
    def _fraction(cls, fraction: float | str) -> float | str:
        if isinstance(fraction, float) and not 0.001 <= fraction <= 0.5:
            raise ValueError(f"{fraction} is outside 0.001 to 0.5")
        return fraction


def distinct(formats: list[Format]) -> list[Format]:
    """The formats as they are; ValueError where one is there twice."""
    if len(set(formats)) < len(formats):
        raise ValueError(f"{formats} names a format twice; name each once")
    return formats


def _check_batch(size: int | str) -> int | str:
    if isinstance(size, int) and not 2 <= size <= 8192:
        raise ValueError(f"{size} is outside 2 to 8192")
    return size


def _check_lr(lr: float | str) -> float | str:
    if isinstance(lr, float) and not 0 < lr <= 10:
        raise ValueError(f"{lr} is outside 0 (excluded) to 10")
    return lr


class Search(Section):
    """How plans are looked for."""

    trials: int = Field(60, ge=1, le=100_000, description="candidates to try")
    operators: list[str] | Auto = Field(
        "auto",
        description="operators that may rebuild a block; names from GET /operators. `auto` takes, "
        "per block, those that save FLOPs and parameters, spread over the range of cost",
    )
    granularity: Literal["block", "conv"] = Field(
        "block", description="what one choice covers: a whole block or one convolution"
    )
    include: list[str] | None = Field(
        None, description="only blocks whose name matches one of these shell patterns"
    )
    exclude: list[str] | None = Field(
        None, description="no block whose name matches one of these shell patterns"
    )
    sampler: Literal["auto", "tpe", "random"] = Field(
        "auto", description="`auto` is multivariate TPE"
    )
    objectives: tuple[Literal["accuracy"], Objective] = Field(
        ("accuracy", "flops"),
        description="what the front trades off; `latency` needs `budget.latency`, which may set no "
        "limit",
    )
    stop_early: bool = Field(
        True, description="whether a trial that is clearly beaten at a rung stops there"
    )
    repeats: int = Field(
        1,
        ge=0,
        le=10,
        description="how often a member of the front is evaluated again, with another order of "
        "the training images, where its place is within the noise",
    )
    patience: int | None = Field(
        30, ge=1, description="the search ends when so many trials in a row moved no front"
    )
    time_limit_s: float | None = Field(
        None, gt=0, description="no new candidate starts after so many seconds of search"
    )
    trial_time_limit_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="a trial that takes longer, the start of its process included, is stopped and "
        "has failed",
    )

    @field_validator("operators")
    @classmethod
    def _nonempty(cls, operators: list[str] | str) -> list[str] | str:
        if not operators:
            raise ValueError('the list is empty; name at least one operator, or use "auto"')
        return operators


class Library(Section):
    """How the options of every block are prepared before the search: distilled block by block and
    scored. A library is kept and used by every later job on the same teacher and training images.
    """

    rungs: int = Field(
        2,
        ge=0,
        le=10,
        description="rounds of block-wise training, each twice as long as the one before; "
        "0 takes the closed-form starts as they are",
    )
    images: int | Auto = Field(
        "auto",
        description="training images of the first of these rounds, 2 to 10^8; `auto`: 2,048 on a "
        "CPU, 8,192 on a GPU",
    )
    batch_size: int | Auto = Field(
        "auto", description="images per step, 2 to 8192; `auto`: 64 on a CPU, 256 on a GPU"
    )
    lr: float | Auto = Field(
        "auto", description="peak learning rate, above 0; `auto` grows with the batch"
    )
    score_images: int = Field(
        256,
        ge=16,
        le=10**6,
        description="validation images on which an option is scored, at most, where its standard "
        "error asks for so many: drawn from a thousand by how unsure the teacher is of them",
    )

    _batch = field_validator("batch_size")(_check_batch)
    _lr = field_validator("lr")(_check_lr)

    @field_validator("images")
    @classmethod
    def _images(cls, images: int | str) -> int | str:
        if isinstance(images, int) and not 2 <= images <= 10**8:
            raise ValueError(f"{images} is outside 2 to 10^8")
        return images


class Distill(Section):
    """How a student is taught by the teacher."""

    method: str = Field("features", description="a name from GET /methods")
    epochs: float = Field(1.0, gt=0, le=1000, description="passes over the training split")
    views: int | Auto = Field(
        "auto",
        description="distinct training views, from 2: the teacher answers each once; `auto` shows "
        "each view once, up to four times the number of training images",
    )
    batch_size: int | Auto = Field("auto", description="images per step, 2 to 8192")
    optimizer: Optimizer = Field(
        "muon",
        description="`sgd` has Nesterov momentum; `muon` makes orthogonal steps in convolutions "
        "that sum over channels, which learns faster, and is `sgd` elsewhere",
    )
    lr: float | Auto = Field(
        "auto",
        description="peak learning rate, above 0; in the orthogonal steps of `muon` the share of "
        "its length by which a filter is moved; `auto` grows with the batch and with how far the "
        "student starts below its teacher",
    )
    scale_weight_decay: bool = Field(
        False,
        description="whether a layer that was rebuilt gets a weight decay smaller by the share of "
        "its parameters that it kept",
    )
    parameters: dict[str, ParameterValue] = Field(
        default_factory=dict,
        description="of the method, by name, as GET /methods lists them; others are its defaults",
    )

    _batch = field_validator("batch_size")(_check_batch)
    _lr = field_validator("lr")(_check_lr)

    @model_validator(mode="before")
    @classmethod
    def _parameters_of_old(cls, given: Any) -> Any:
        """Until version 0.1.0 the parameters of `kd` stood here by themselves."""
        if not isinstance(given, dict) or not _FORMER & given.keys():
            return given
        if not isinstance(given.get("parameters", {}), dict):
            return given  # refused below
        moved = {name: given[name] for name in _FORMER & given.keys()}
        rest = {name: value for name, value in given.items() if name not in moved}
        return rest | {"parameters": moved | rest.get("parameters", {})}

    @field_validator("views")
    @classmethod
    def _least_views(cls, views: int | str) -> int | str:
        if isinstance(views, int) and views < 2:
            raise ValueError(f"{views} is below 2, which a batch norm needs")
        return views


class Finish(Distill):
    """The last stage: the best of the front trained longer, tested once, exported."""

    finalists: int = Field(3, ge=0, le=50, description="how many members of the front")
    epochs: float = Field(20.0, gt=0, le=1000, description="passes over the training split")
    formats: list[Format] = Field(
        ["pt2", "onnx", "safetensors", "report"],
        min_length=1,
        description="files to make per finalist, each once; `onnx-int8` is quantised after "
        "training, `report` an HTML page",
    )

    @field_validator("formats")
    @classmethod
    def _distinct(cls, formats: list[Format]) -> list[Format]:
        return distinct(formats)


class JobSpec(Section):
    """A compression job: `teacher`, `dataset` and `budget` (or `plan`) are enough, the rest has
    defaults.
    """

    name: str | None = Field(
        None,
        max_length=200,
        description="a label for people; null: what is compressed, on what, to which budget",
    )
    teacher: Teacher
    dataset: Dataset
    plan: dict[str, str] | None = Field(
        None,
        description="block -> option: this plan alone is tried, without a search; the number of "
        "trials, operators and patterns of `search` decide nothing then",
        examples=[{"layer1.0": "svd(ratio=0.5)"}],
    )
    budget: Budget | None = Field(
        None, validate_default=True, description="may be left out where a `plan` is given"
    )
    library: Library | None = Field(
        default_factory=Library, description="null searches without one, from cold starts"
    )
    search: Search = Field(default_factory=Search)
    distill: Distill = Field(default_factory=Distill)
    finish: Finish = Field(default_factory=Finish)
    time_limit_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="seconds of work, waiting and pauses aside, after which the job fails; what it "
        "found is kept, and resuming it gives it as much again. `search.time_limit_s` ends the "
        "search alone",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of every random choice")
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")] = Field(
        "auto", description="`auto`, `cpu`, `cuda` or `cuda:<index>`"
    )

    @field_validator("budget")
    @classmethod
    def _budget_or_plan(cls, budget: Budget | None, info: ValidationInfo) -> Budget | None:
        # A plan that is no plan is not in the data: it is refused on its own.
        if budget is None and info.data.get("plan", {}) is None:
            raise ValueError('give one, as in {"flops": "50%"}, or a plan')
        return budget

    @model_validator(mode="after")
    def _objective_is_measured(self) -> Self:
        if self.search.objectives[1] == "latency" and self.latency is None:
            raise ValueError(
                "search.objectives: latency is measured nowhere; say where it counts, as in "
                '"budget": {"latency": {"runtime": "onnxruntime"}}'
            )
        return self

    @property
    def latency(self) -> Latency | None:
        """Where the latency of a student counts, if it does."""
        return None if self.budget is None else self.budget.latency

    @property
    def accuracy_drop(self) -> float | None:
        """That of the budget, if it has one."""
        return None if self.budget is None else self.budget.accuracy_drop

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
