import json

import numpy as np
import pytest
import torch

from pareconv.models.cost import count
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.architectures import architecture
from pareconv.search import teachers
from pareconv.search.errors import InvalidSpec
from pareconv.search.inspection import inspect
from pareconv.search.references import References
from pareconv.search.spec import JobSpec
from pareconv.storage.settings import Settings


@pytest.fixture
def references(tmp_path):
    with References(Settings(home=tmp_path / "home", allowed_roots=(tmp_path,))) as references:
        yield references


@pytest.fixture
def inspected(references):
    """Inspects digits with a ResNet-8 at 16 pixels, parts of the spec changed by keyword."""

    def run(**changes):
        spec = {
            "teacher": {"architecture": "cifar_resnet8"},
            "dataset": {"source": "digits", "image_size": 16},
            "budget": {"flops": "60%"},
        }
        for name, part in changes.items():
            spec[name] = spec.get(name, {}) | part
        return inspect(JobSpec.model_validate(spec), references)

    return run


@pytest.fixture
def refusal(inspected):
    def refusal(field, **changes):
        with pytest.raises(InvalidSpec) as caught:
            inspected(**changes)
        assert caught.value.field == field
        return caught.value.message

    return refusal


def test_digits_and_a_resnet8(inspected):
    found = inspected(dataset={"image_size": "auto"}).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["classes"] == list("0123456789")
    images = {"train": 1438, "validation": None, "held_out": 287, "test": 359}
    assert found["images"] == images
    assert found["image_size"] == 32
    assert [block["name"] for block in found["blocks"]] == [
        "conv1",
        "layer1.0",
        "layer2.0",
        "layer3.0",
    ]
    counted = count(architecture("cifar_resnet8").build(10), 1, 3, 32, 32)
    assert (found["teacher"]["flops"], found["teacher"]["params"]) == (
        counted.flops,
        counted.params,
    )
    assert sum(found["teacher"]["flops_by_operator"].values()) == found["teacher"]["flops"]
    assert found["budget"] == {
        "flops": int(0.6 * counted.flops),
        "params": None,
        "latency_ms": None,
    }


def test_every_option_is_shown_with_what_the_network_would_cost(inspected):
    found = inspected().to_json()
    teacher, reachable = found["teacher"], found["reachable"]
    for block in found["blocks"]:
        assert block["convs"]
        assert block["options"]
        for option in block["options"]:
            assert option["option"] != "keep"
            assert reachable["flops"]["least"] <= option["flops"] < teacher["flops"]
            assert reachable["params"]["least"] <= option["params"] < teacher["params"]
    for name in ("flops", "params"):
        assert 0 < reachable[name]["least"] < reachable[name]["greatest"] < teacher[name]


def test_what_is_left_out_has_a_reason(inspected):
    left_out = inspected(search={"exclude": ["layer1.*"]}).to_json()["left_out"]
    assert {"name": "layer1.0", "reason": "excluded by layer1.*"} in left_out
    assert all(each["reason"] for each in left_out)


def test_the_search_can_be_narrowed(inspected):
    found = inspected(
        search={"operators": ["svd"], "include": ["layer[23].0"]}, budget={"flops": "90%"}
    ).to_json()
    assert [block["name"] for block in found["blocks"]] == ["layer2.0", "layer3.0"]
    operators = {
        option["option"].split("(")[0] for block in found["blocks"] for option in block["options"]
    }
    assert operators == {"svd"}


def test_whether_there_are_weights_is_told(inspected, tmp_path):
    network = architecture("cifar_resnet8").build(10)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    found = inspected(teacher={"weights": f"file:{tmp_path}/weights.pt"})
    assert found.preparation == "none"
    assert torch.equal(found.network.state_dict()["conv1.weight"], network.conv1.weight)
    assert inspected().preparation == "training"


def test_an_unknown_architecture_is_refused_with_the_nearest(refusal):
    message = refusal("teacher.architecture", teacher={"architecture": "cifar_resnet21"})
    assert "'cifar_resnet21'" in message
    assert "cifar_resnet20" in message


def test_weights_of_another_network_are_refused(refusal, tmp_path):
    torch.save(architecture("cifar_resnet14").build(10).state_dict(), tmp_path / "deep.pt")
    message = refusal("teacher.weights", teacher={"weights": f"file:{tmp_path}/deep.pt"})
    assert "layer1.1" in message


def test_a_file_that_holds_no_weights_is_refused(refusal, tmp_path):
    (tmp_path / "cut.pt").write_bytes(b"PK\3\4 and no more")
    assert refusal("teacher.weights", teacher={"weights": f"file:{tmp_path}/cut.pt"})


def test_weights_that_cannot_be_had_by_default_are_refused(refusal):
    assert refusal("teacher.weights", teacher={"weights": "default"})


def test_weights_outside_the_allowed_roots_are_refused(refusal):
    assert "/etc/passwd" in refusal("teacher.weights", teacher={"weights": "file:/etc/passwd"})


def test_classes_that_do_not_match_the_data_are_refused(refusal):
    message = refusal("teacher.num_classes", teacher={"num_classes": 100})
    assert "100 does not match" in message
    assert "10 classes" in message


def test_the_right_number_of_classes_is_taken(inspected):
    assert inspected(teacher={"num_classes": 10}).data.classes == tuple("0123456789")


def test_images_too_small_for_the_network_are_refused(refusal):
    message = refusal("dataset.image_size", teacher={"architecture": "cifar_vgg16_bn"})
    assert "16 pixels is too small for cifar_vgg16_bn" in message
    assert "at least 32" in message


@pytest.mark.parametrize("quantity", ["flops", "params"])
def test_a_budget_above_the_teacher_is_refused_with_its_cost(quantity, refusal, inspected):
    whole = inspected().to_json()["teacher"][quantity]
    message = refusal(f"budget.{quantity}", budget={quantity: whole + 1})
    assert f"{whole + 1:,} is over 100%" in message
    assert f"{whole:,};" in message
    assert inspected(budget={quantity: whole}).limits[quantity] == whole


@pytest.mark.parametrize("quantity", ["flops", "params"])
def test_a_budget_below_every_option_is_refused_with_the_least(quantity, refusal, inspected):
    least = inspected().to_json()["reachable"][quantity]["least"]
    message = refusal(f"budget.{quantity}", budget={quantity: least - 1})
    assert f"{least:,}" in message
    assert inspected(budget={"flops": "100%", quantity: least}).limits[quantity] == least


def test_an_unknown_operator_is_refused_with_the_known(refusal):
    message = refusal("search.operators", search={"operators": ["svd", "winograd"]})
    assert "'winograd'" in message
    assert "ghost" in message


@pytest.mark.parametrize("part", ["distill", "finish"])
def test_an_unknown_method_is_refused_with_the_known(part, refusal):
    message = refusal(f"{part}.method", **{part: {"method": "hints"}})
    assert "'hints'" in message
    assert "kd, labels" in message


def test_a_method_that_trains_others_along_is_for_the_finish(refusal, inspected):
    message = refusal("distill.method", distill={"method": "mutual"})
    assert "name it in finish.method, and here one of attention, " in message
    assert "online_ensemble" not in message
    assert inspected(finish={"method": "mutual"})
    wrapping = {"method": "curriculum", "parameters": {"method": "mutual"}}
    message = refusal("distill.method", distill=wrapping)
    assert "curriculum with these parameters trains other networks along" in message
    assert inspected(distill={"method": "curriculum"}, finish=wrapping)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 0.0}, "0.0 is outside 0.01 to 100.0"),
        ({"beta": 3.0}, "kd has no parameter 'beta'; it has: temperature, alpha"),
        ({"alpha": "half"}, "'half' is no number; give one from 0.0 to 1.0"),
    ],
)
@pytest.mark.parametrize("part", ["distill", "finish"])
def test_a_parameter_that_the_method_cannot_take_is_refused(part, parameters, message, refusal):
    (name,) = parameters
    asked = {part: {"method": "kd", "parameters": parameters}}
    assert message in refusal(f"{part}.parameters.{name}", **asked)


def test_patterns_that_leave_no_block_are_refused(refusal):
    message = refusal("search.include", search={"include": ["layer9.*"]})
    assert "no block of cifar_resnet8 can be replaced" in message
    assert "layer9.*" in message


def test_data_that_is_not_there_is_refused(refusal, tmp_path):
    refusal("dataset.source", dataset={"source": f"file:{tmp_path}/none.zip"})


def test_a_long_tail_is_counted(inspected):
    """143 of the largest class, and a tenth of that of the last."""
    whole, tail = inspected(), inspected(dataset={"imbalance": 0.1})
    assert len(whole.data.train_counts) == 10
    assert tail.data.train_counts[-1] == int(0.1 * max(whole.data.train_counts))
    counted = tail.to_json()["images"]
    assert counted["train"] == sum(tail.data.train_counts)
    assert counted["held_out"] < whole.to_json()["images"]["held_out"]
    assert tail.data.train < 0.5 * whole.data.train


def test_partners_that_need_larger_images_are_refused(refusal):
    parameters = {"partners": "standard,inception_v3"}
    message = refusal(
        "finish.parameters", finish={"method": "collaborative"} | {"parameters": parameters}
    )
    assert "partner inception_v3 needs images of at least" in message
    assert "the data's are 16" in message


@pytest.fixture
def planned(references):
    def run(plan, **changes):
        spec = {
            "teacher": {"architecture": "cifar_resnet8"},
            "dataset": {"source": "digits", "image_size": 16},
            "plan": plan,
        }
        return inspect(JobSpec.model_validate(spec | changes), references)

    return run


def test_a_plan_is_inspected_with_what_it_costs(planned):
    """At whatever granularity, and whether or not it is cheaper."""
    plan = Plan.from_json({"layer1.0.conv1": "svd(ratio=0.5)", "layer2.0": "adder"})
    found = planned(plan.to_json())
    student = rewrite(found.network, plan)
    assert found.space.table.cost(plan) == count(student, 1, 3, 16, 16)
    assert found.limits == {"flops": None, "params": None, "latency_ms": None}
    assert {block.name for block in found.space.blocks} == set(plan)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"layer9": "shift"}, "no block 'layer9'"),
        ({"layer1.0": "magic"}, "unknown operator 'magic'"),
        ({"layer1.0": "svd"}, "takes the hyper-parameters ratio"),
        ({"layer1.0": "keep"}, "the plan keeps every block"),
        ({}, "the plan keeps every block"),
        ({"layer1.0": "svd(ratio"}, "is not of the form"),
        ({"layer1.0": "shift", "layer1.0.conv1": "shift"}, "replaces layer1.0.conv1 already"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(plan, message, planned):
    with pytest.raises(InvalidSpec, match=message) as caught:
        planned(plan)
    assert caught.value.field == "plan"


def test_a_plan_over_the_budget_is_refused_with_both(planned):
    with pytest.raises(
        InvalidSpec, match=r"it has [\d,]+ parameters, over the budget of"
    ) as caught:
        planned({"layer1.0": "svd(ratio=0.5)"}, budget={"params": "50%"})
    assert caught.value.field == "plan"


@pytest.fixture
def network(tmp_path):
    """Writes networks as ONNX; answers what a spec calls them."""

    def write(name, classes=10, size=16):
        path = tmp_path / f"{name}.onnx"
        built = architecture(name).build(classes).eval()
        for module in built.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.data.normal_()  # as after training; without it no bias is exported
        program = torch.onnx.export(
            built,
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("images")},),
        )
        program.save(path)
        return f"file:{path}"

    return write


def test_a_network_in_a_file_is_as_one_by_name(inspected, network):
    by_name = inspected().to_json()
    found = inspected(teacher={"architecture": network("cifar_resnet8")})
    assert found.preparation == "none"
    of_file = found.to_json()
    assert of_file["teacher"]["params"] == by_name["teacher"]["params"]
    assert [block["convs"] for block in of_file["blocks"]] == [
        block["convs"] for block in by_name["blocks"]
    ]


def test_a_network_in_a_file_must_fit_the_images(inspected, network, refusal):
    of_32 = {"architecture": network("cifar_vgg16_bn", size=32)}
    few = {"operators": ["svd"]}
    found = inspected(teacher=of_32, dataset={"image_size": 32}, search=few)
    assert found.to_json()["image_size"] == 32
    reason = refusal("dataset.image_size", teacher=of_32, search=few)
    assert "made for 32: set dataset.image_size" in reason


def test_images_of_another_size_than_the_file_is_made_for_are_told(inspected, network):
    teacher, few = {"architecture": network("cifar_resnet8")}, {"operators": ["svd"]}

    def told(size):
        found = inspected(teacher=teacher, dataset={"image_size": size}, search=few)
        return [each.message for each in found.assumed if each.field == "dataset.image_size"]

    assert told(16) == []
    (message,) = told(24)
    assert "made for images of 16 pixels a side, and these have 24" in message


def test_classes_that_no_image_tests_are_told(inspected, tmp_path):
    def told(tested):
        labels = np.repeat(np.arange(3), 10)
        images = np.zeros((30, 16, 16, 3), np.uint8)
        among = np.isin(labels, tested)
        parts = {"x_train": images, "y_train": labels}
        np.savez(tmp_path / "few.npz", **parts, x_test=images[among], y_test=labels[among])
        found = inspected(dataset={"source": f"file:{tmp_path}/few.npz"})
        return [each.message for each in found.assumed if each.field == "dataset.source"]

    assert told([0, 1, 2]) == []
    (message,) = told([0])
    assert "no test image is of 1, 2," in message


def test_a_network_in_a_file_has_weights_of_its_own(network, refusal):
    teacher = {"architecture": network("cifar_resnet8"), "weights": "default"}
    assert "leave it out" in refusal("teacher.weights", teacher=teacher)


def test_a_teacher_of_other_classes_is_to_be_fine_tuned(inspected, network, tmp_path):
    of_file = inspected(teacher={"architecture": network("cifar_resnet8", classes=11)})
    torch.save(architecture("cifar_resnet8").build(11).state_dict(), tmp_path / "eleven.pt")
    weights = inspected(teacher={"weights": f"file:{tmp_path}/eleven.pt"})
    for found in (of_file, weights):
        assert found.to_json()["teacher"]["preparation"] == "fine-tuning"
        assert found.network(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_published_weights_say_how_images_are_fed(references, monkeypatch):
    """Without `default`, images keep their size; with it, it is that of the weights."""
    monkeypatch.setattr(
        teachers, "pretrained", lambda name: architecture(name).build(1000).state_dict()
    )
    spec = {
        "teacher": {"architecture": "squeezenet1_1", "weights": "default"},
        "dataset": {"source": "digits"},
        "budget": {"flops": "90%"},
        "search": {"operators": ["svd"], "include": ["features.3"]},
    }
    found = inspect(JobSpec.model_validate(spec), references)
    assert found.preparation == "fine-tuning"
    assert found.data.image_size == 224


def test_weights_are_no_network(refusal, tmp_path):
    torch.save(architecture("cifar_resnet8").build(10).state_dict(), tmp_path / "weights.pt")
    teacher = {"architecture": f"file:{tmp_path}/weights.pt"}
    assert "weights.pt is no ONNX file" in refusal("teacher.architecture", teacher=teacher)


def test_a_network_is_no_weights(refusal, network):
    path = network("cifar_resnet8")
    message = refusal("teacher.weights", teacher={"weights": path})
    assert message.startswith(f"{path} is a whole network")
    assert "teacher.architecture" in message


def test_an_accuracy_drop_limits_no_cost(references):
    spec = {
        "teacher": {"architecture": "cifar_resnet8"},
        "dataset": {"source": "digits", "image_size": 16},
        "budget": {"accuracy_drop": 1.0},
    }
    found = inspect(JobSpec.model_validate(spec), references)
    assert set(found.to_json()["budget"].values()) == {None}


def test_an_accuracy_drop_needs_finalists_to_be_decided(refusal):
    message = refusal("finish.finalists", budget={"accuracy_drop": 1}, finish={"finalists": 0})
    assert "at least 1" in message


def test_an_accuracy_drop_needs_a_teacher(refusal):
    untaught = {"plan": {"layer1.0": "shift"}, "finish": {"method": "mutual"}}
    message = refusal("budget.accuracy_drop", budget={"accuracy_drop": 1.5}, **untaught)
    assert message.startswith("1.5 points")
    assert "teacher.weights" in message
