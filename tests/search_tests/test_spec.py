import json

import pytest
from pydantic import ValidationError

from pareconv.search.budget import Budget, limit_of
from pareconv.search.spec import JobSpec, Normalize

MINIMAL = {
    "teacher": {"architecture": "cifar_resnet20"},
    "dataset": {"source": "digits"},
    "budget": {"flops": "50%"},
}


def spec_with(path, value):
    """The minimal spec with one field, given by its dotted path, set to a value."""
    spec = json.loads(json.dumps(MINIMAL))
    *parents, last = path.split(".")
    part = spec
    for name in parents:
        part = part.setdefault(name, {})
    part[last] = value
    return spec


def refusal(path, value):
    """Of the only error: the dotted path it is reported on, and its message."""
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(spec_with(path, value))
    places = {".".join(map(str, error["loc"])) for error in caught.value.errors()}
    assert all(place == path or place.startswith(f"{path}.") for place in places)
    return str(caught.value)


def accepted(path, value):
    found = JobSpec.model_validate(spec_with(path, value)).to_json()
    for name in path.split("."):
        found = found[name]
    return found


def test_teacher_dataset_and_budget_make_a_job():
    spec = JobSpec.model_validate(MINIMAL)
    assert (spec.search.trials, spec.search.objectives) == (60, ("accuracy", "flops"))
    assert spec.distill.method == spec.finish.method == "features"
    assert spec.distill.parameters == {}
    assert (spec.finish.epochs, spec.finish.finalists) == (20.0, 3)
    assert spec.finish.formats == ["pt2", "onnx", "safetensors", "report"]
    assert (spec.seed, spec.device, spec.teacher.weights) == (0, "auto", None)


@pytest.mark.parametrize("missing", MINIMAL)
def test_each_of_the_three_is_needed(missing):
    with pytest.raises(ValidationError, match=missing):
        JobSpec.model_validate({key: MINIMAL[key] for key in MINIMAL if key != missing})


def test_parameters_where_version_0_1_0_had_them_are_found():
    """Its jobs are in the database, resolved."""
    former = {"method": "kd", "temperature": 4.0, "alpha": 0.5}
    spec = JobSpec.model_validate(MINIMAL | {"distill": former})
    assert spec.distill.parameters == {"temperature": 4.0, "alpha": 0.5}
    assert spec == JobSpec.model_validate(spec.to_json())


@pytest.mark.parametrize("parameters", [None, [], "much"])
def test_parameters_that_are_no_object_are_refused(parameters):
    former = {"temperature": 4.0, "parameters": parameters}
    with pytest.raises(ValidationError, match="parameters"):
        JobSpec.model_validate(MINIMAL | {"distill": former})


def test_survives_json():
    spec = JobSpec.model_validate(
        MINIMAL
        | {
            "name": "half",
            "teacher": {
                "architecture": "cifar_resnet20",
                "weights": "teacher:3f9c",
                "num_classes": 10,
                "normalize": {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]},
            },
            "search": {"operators": ["svd"], "include": ["layer1.*"], "sampler": "random"},
            "distill": {"batch_size": 32, "lr": 0.01},
            "finish": {"formats": ["onnx"], "lr": 1},
            "seed": 2**32 - 1,
        }
    )
    again = JobSpec.model_validate(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "path",
    [
        "epoch",
        "teacher.weight",
        "teacher.training.epoch",
        "teacher.normalize.variance",
        "dataset.size",
        "budget.flop",
        "search.trial",
        "distill.temp",
        "finish.finalist",
    ],
)
def test_an_unknown_field_is_refused(path):
    spec = spec_with(path, 1)
    if path.startswith("teacher.normalize"):
        spec["teacher"]["normalize"] |= {"mean": [0, 0, 0], "std": [1, 1, 1]}
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        JobSpec.model_validate(spec)


def test_a_spec_cannot_be_changed():
    spec = JobSpec.model_validate(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1


@pytest.mark.parametrize("statistics", [{"mean": [127] * 3, "std": [0.5] * 3},
                                        {"mean": [0.5] * 3, "std": [58] * 3}])  # fmt: skip
def test_statistics_of_pixels_up_to_255_are_refused_with_the_remedy(statistics):
    with pytest.raises(ValidationError, match="divide statistics of pixels from 0 to 255 by 255"):
        Normalize(**statistics)


def test_a_fraction_is_no_limit():
    with pytest.raises(ValidationError, match=r"0\.5 is no limit; give a whole number, or a share"):
        Budget(flops=0.5)


@pytest.mark.parametrize("name", ["flops", "params"])
@pytest.mark.parametrize("limit", [0, -1, "0%", "-5%", "100.5%", "half", "50", "", 0.5])
def test_a_budget_that_is_no_budget_is_refused(name, limit):
    message = refusal(f"budget.{name}", limit)
    assert str(limit) in message


@pytest.mark.parametrize("limit", [1, 10**12, "50%", "100%", " 12.5 % ", "0.1%"])
def test_a_budget_is_a_number_or_a_percentage(limit):
    assert accepted("budget.flops", limit) == limit


def test_a_budget_limits_something():
    with pytest.raises(
        ValidationError, match="at least one of flops, params, latency, accuracy_drop"
    ):
        JobSpec.model_validate(MINIMAL | {"budget": {}})


@pytest.mark.parametrize(
    ("limit", "expected"), [("50%", 150), (17, 17), ("100%", 301), ("33.3%", 100)]
)
def test_a_limit_never_exceeds_the_share_asked_for(limit, expected):
    assert limit_of(limit, 301) == expected


@pytest.mark.parametrize(
    "reference", ["teacher:3f9c", "teacher:a-b_c", "file:/w/x.pt", "default", None]
)
def test_forms_of_the_teachers_weights(reference):
    assert accepted("teacher.weights", reference) == reference


@pytest.mark.parametrize(
    "reference",
    ["3f9c", "teacher:", "teacher:../x", "file:", "/w/x.pt", "dataset:1", "", "Default"],
)
def test_weights_of_another_form_are_refused(reference):
    message = refusal("teacher.weights", reference)
    assert repr(reference) in message
    assert "POST /teachers" in message


@pytest.mark.parametrize(
    "source", ["digits", "dataset:81aa", "file:/data", "cifar10:relative", "food101:/data"]
)
def test_forms_of_the_data_source(source):
    assert accepted("dataset.source", source) == source


@pytest.mark.parametrize(
    "source",
    ["digit", "dataset:", "dataset:a/b", "file:", "cifar10", "cifar10:", "mnist", "no:/x", ""],
)
def test_a_source_of_another_form_is_refused(source):
    message = refusal("dataset.source", source)
    assert repr(source) in message
    assert "cifar10, cifar100, mnist" in message
    assert "POST /datasets" in message


# Path, values just outside, values just inside.
BOUNDS = [
    ("teacher.num_classes", [1, 100_001], [2, 100_000]),
    ("teacher.training.epochs", [0, -1, 1000.1], [0.001, 1000]),
    ("teacher.training.batch_size", [1, 8193], [2, 8192]),
    ("teacher.training.lr", [0, 10.1], [1e-6, 10]),
    ("teacher.training.weight_decay", [-0.1, 1.1], [0, 1]),
    ("dataset.image_size", [7, 1025, 0], [8, 1024, "auto"]),
    ("dataset.validation_fraction", [0.0, 0.0009, 0.51, 1], [0.001, 0.5, "auto"]),
    ("search.trials", [0, -3, 100_001], [1, 100_000]),
    ("search.time_limit_s", [0, -1], [0.5, None]),
    ("search.trial_time_limit_s", [0, -1, float("inf")], [0.5, None]),
    ("time_limit_s", [0, -1, float("inf")], [0.5, None]),
    ("search.repeats", [-1, 11], [0, 10]),
    ("search.patience", [0, -1], [1, None]),
    ("library.rungs", [-1, 11], [0, 10]),
    ("library.images", [1, 10**8 + 1], [2, 10**8]),
    ("library.batch_size", [1, 8193], [2, 8192, "auto"]),
    ("library.lr", [0.0, -0.1, 10.1], [1e-6, 10.0, "auto"]),
    ("library.score_images", [15, 10**6 + 1], [16, 10**6]),
    ("distill.epochs", [0, 1000.1], [0.001, 1000]),
    ("distill.batch_size", [1, 8193], [2, 8192, "auto"]),
    ("distill.lr", [0, 0.0, -0.1, 11, 10.1], [1e-6, 10, "auto"]),
    ("distill.views", [1, 0, -5], [2, 10**7, "auto"]),
    ("finish.epochs", [0, 1000.1], [0.1, 1000]),
    ("finish.batch_size", [1, 8193], [2, 8192]),
    ("finish.finalists", [-1, 51], [0, 50]),
    ("seed", [-1, 2**32], [0, 2**32 - 1]),
    ("name", ["x" * 201], ["x" * 200, None]),
    ("teacher.architecture", ["", "x" * 201], ["x" * 200]),
]


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, outside, _ in BOUNDS for value in outside]
)
def test_outside_its_bounds_a_value_is_refused(path, value):
    refusal(path, value)


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, _, inside in BOUNDS for value in inside]
)
def test_within_its_bounds_a_value_is_kept(path, value):
    assert accepted(path, value) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dataset.augment", "flip"),
        ("search.granularity", "layer"),
        ("search.sampler", "nsga"),
        ("distill.optimizer", "adam"),
        ("search.objectives", ["accuracy", "joules"]),
        ("search.objectives", ["flops", "accuracy"]),
        ("search.operators", []),
        ("teacher.normalize", "mnist"),
        ("finish.formats", ["pt2", "tflite"]),
        ("finish.formats", ["onnx", "onnx"]),
        ("finish.formats", []),
        ("device", "cuda:"),
        ("device", "tpu"),
        ("device", "cpu\n"),
    ],
)
def test_what_is_not_among_the_choices_is_refused(path, value):
    refusal(path, value)


def test_a_job_may_do_without_a_library():
    assert JobSpec.model_validate(MINIMAL).library is not None
    assert accepted("library", None) is None


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:12"])
def test_devices(device):
    assert accepted("device", device) == device


@pytest.mark.parametrize("std", [[0, 1, 1], [1, 1, -1], [1, 1]])
def test_a_normalisation_needs_three_positive_deviations(std):
    refusal("teacher.normalize", {"mean": [0, 0, 0], "std": std})


@pytest.mark.parametrize("path", ["distill.lr", "distill.epochs", "teacher.training.lr"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(path, value):
    refusal(path, value)


def test_every_field_says_what_it_is():
    schema = JobSpec.model_json_schema()
    parts = {"JobSpec": schema} | schema["$defs"]
    silent = [
        f"{part}.{name}"
        for part, model in parts.items()
        for name, field in model["properties"].items()
        if "description" not in field and "$ref" not in field
    ]
    assert silent == []


@pytest.mark.parametrize("points", [0, 0.5, 1, 99])
def test_a_budget_may_be_of_accuracy_alone(points):
    spec = JobSpec.model_validate(MINIMAL | {"budget": {"accuracy_drop": points}})
    assert spec.accuracy_drop == points
    assert spec.budget.flops is None


@pytest.mark.parametrize("points", [-1, 100, "1%", float("nan")])
def test_an_accuracy_drop_is_in_points(points):
    with pytest.raises(ValidationError, match="accuracy_drop"):
        JobSpec.model_validate(MINIMAL | {"budget": {"accuracy_drop": points}})
