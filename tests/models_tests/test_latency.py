import time

import onnxruntime
import pytest
import torch

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.registry import OPERATORS, options
from pareconv.models.graph import canonical
from pareconv.models.latency import Conditions, compare, measure, parts
from pareconv.models.plan import KEEP, Option
from pareconv.models.rewriting import refusals
from pareconv.models.runtimes import runner, threads_of_torch
from pareconv.models.teachers.architectures import architecture
from pareconv.models.timing import take_turns

SHAPE = (1, 3, 16, 16)
HALF, QUARTER = Option.of("svd", ratio=0.5), Option.of("svd", ratio=0.25)


def network(name="cifar_resnet20", seed=0):
    torch.manual_seed(seed)
    return canonical(architecture(name).build(10)).eval()


@pytest.fixture(scope="module")
def resnet():
    return network()


def keys(found):
    return {(part.block and part.block.name, part.option): part.key for part in found}


def test_what_takes_longer_is_measured_to():
    quick, slow = take_turns([lambda: time.sleep(0.001), lambda: time.sleep(0.004)])
    assert 1 <= quick.ms < 4 <= slow.ms
    assert 0 <= quick.spread_ms < 3


def test_a_part_is_known_by_its_layers_and_shapes_alone(resnet):
    blocks = {block: [HALF, QUARTER] for block in find_blocks(resnet, "block")[1:4]}
    found = keys(parts(resnet, SHAPE, blocks, Conditions()))
    assert len(found) == 7
    # layer1.0, 1.1 and 1.2 are alike.
    assert len(set(found.values())) == 3
    other = network(seed=1)
    again = {block: [HALF] for block in find_blocks(other, "block")[1:2]}
    assert keys(parts(other, SHAPE, again, Conditions())).items() <= found.items()


@pytest.mark.parametrize(
    ("shape", "conditions"),
    [((1, 3, 32, 32), Conditions()), (SHAPE, Conditions(batch=2))],
    ids=["size", "batch"],
)
def test_other_shapes_are_other_parts(resnet, shape, conditions):
    blocks = {block: [HALF] for block in find_blocks(resnet, "block")}
    first = keys(parts(resnet, SHAPE, blocks, Conditions()))
    other = keys(parts(resnet, shape, blocks, conditions))
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_each_part_is_measured_once(resnet, runtime):
    conditions = Conditions(runtime)
    blocks = {block: [HALF, QUARTER] for block in find_blocks(resnet, "block")}
    wanted = parts(resnet, SHAPE, blocks, conditions)
    measured = list(measure(resnet, SHAPE, wanted, conditions))
    assert sorted(each.key for each in measured) == sorted({part.key for part in wanted})
    assert all(each.ms > 0 and each.kept_ms > 0 and each.spread_ms >= 0 for each in measured)
    whole = measured[0]
    assert (whole.option, whole.change_ms) == (str(KEEP), 0.0)
    assert whole.ms > max(each.ms for each in measured[1:])


def test_measuring_changes_nothing(resnet):
    before = {name: value.clone() for name, value in resnet.state_dict().items()}
    blocks = {block: [HALF] for block in find_blocks(resnet, "block")[:2]}
    threads = torch.get_num_threads()
    list(measure(resnet, SHAPE, parts(resnet, SHAPE, blocks, Conditions()), Conditions()))
    assert torch.get_num_threads() == threads
    assert all(torch.equal(before[name], value) for name, value in resnet.state_dict().items())


def fitting():
    """One option of every operator, on a block that takes it."""
    found = []
    for name in OPERATORS:
        for teacher in ("cifar_resnet8", "cifar_mobilenetv2"):
            built = network(teacher)
            place = next(
                (
                    (teacher, block.name, option)
                    for block in find_blocks(built, "block")
                    for option in options([name])
                    if set(block.convs) - set(refusals(built, block, option))
                ),
                None,
            )
            if place:
                found.append(place)
                break
    return found


@pytest.mark.parametrize("place", fitting(), ids=lambda place: place[2].operator)
def test_every_operator_can_be_timed_in_every_runtime(place):
    teacher, name, option = place
    built = network(teacher)
    block = next(each for each in find_blocks(built, "block") if each.name == name)
    for runtime in ("onnxruntime", "torch"):
        conditions = Conditions(runtime)
        (_, part) = parts(built, (1, 3, 32, 32), {block: [option]}, conditions)
        (measured,) = measure(built, (1, 3, 32, 32), [part], conditions)
        assert measured.ms > 0


def test_every_operator_is_timed():
    assert {option.operator for _, _, option in fitting()} == set(OPERATORS)


def test_parts_of_a_value_that_was_split(resnet):
    shuffle = network("shufflenet_v2_x0_5")
    blocks = {block: [HALF] for block in find_blocks(shuffle, "block")
              if set(block.convs) - set(refusals(shuffle, block, HALF))}  # fmt: skip
    shape = (1, 3, 32, 32)
    wanted = parts(shuffle, shape, blocks, Conditions())
    assert len(list(measure(shuffle, shape, wanted, Conditions()))) == len(
        {part.key for part in wanted}
    )


def test_a_smaller_network_takes_less(resnet):
    large, small = compare([resnet, network("cifar_resnet8")], (1, 3, 32, 32), Conditions())
    assert small.ms < large.ms


def resized_pool(size):
    """Of 8x8 activations to a size, as VGG's 7x7 whatever the image."""
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.nn.AdaptiveAvgPool2d(size),
              torch.nn.Flatten(), torch.nn.Linear(4 * size * size, 10))  # fmt: skip
    return canonical(torch.nn.Sequential(*layers)).eval()


@pytest.mark.parametrize(
    "measured",
    [network, lambda: resized_pool(4), lambda: resized_pool(3), lambda: resized_pool(16)],
    ids=["resnet", "pool to a divisor", "pool to no divisor", "pool to more"],
)
def test_the_runtime_computes_what_the_network_does(measured):
    measured, images = measured(), torch.randn(2, 3, 16, 16)
    run = runner("onnxruntime", measured, images, 1)
    (logits,) = run()
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), measured(images), rtol=1e-4, atol=1e-4)


def test_torch_has_the_threads_it_is_given():
    before = torch.get_num_threads()
    with threads_of_torch(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_the_subject_names_device_and_versions():
    subject = Conditions("onnxruntime", batch=4, threads=2, device="cuda").subject
    assert subject["device"]
    assert (subject["runtime"], subject["batch"], subject["threads"]) == ("onnxruntime", 4, 2)
    assert subject["versions"] == {"onnxruntime": onnxruntime.__version__}
    # What is on the CPU anyway is the same wherever the job is.
    assert Conditions(device="cuda") == Conditions()
