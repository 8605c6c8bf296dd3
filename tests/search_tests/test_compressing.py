"""A module and images in memory, through the whole pipeline in this process."""

import copy
import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pareconv.models.cost import count
from pareconv.models.errors import UnknownArchitecture, WeightsError
from pareconv.models.student import load_student
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.lending import lent, of_module
from pareconv.search import local
from pareconv.search.errors import InvalidSpec
from pareconv.search.pipeline import compress
from pareconv.search.stores import Stores
from pareconv.storage.job_states import JobStatus
from pareconv.storage.settings import Settings

NORMALIZE = {"mean": (0.3, 0.3, 0.3), "std": (0.37, 0.37, 0.37)}
SECTIONS = {
    "normalize": NORMALIZE,
    "search": {"trials": 2, "operators": ["svd", "ghost"], "stop_early": False, "repeats": 0},
    "library": {"rungs": 0, "score_images": 32},
    "distill": {"epochs": 0.3},
    "finish": {"finalists": 1, "epochs": 0.5},
    "device": "cpu",
    "progress": False,
}


class Net(nn.Module):
    """Somebody's own network, known to no package."""

    def __init__(self, classes=10, channels=3, width=12):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.first(x))), 2)
        x = F.dropout(F.relu(self.second(x)), 0.1, self.training)
        return self.head(x.mean((2, 3)))


class Pictures(Dataset):
    """Grey PIL images, as a data set of torchvision gives them."""

    classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return Image.fromarray(self.images[index][0].numpy()), int(self.labels[index])


def normalized(images):
    return (images.float() / 255 - 0.3) / 0.37


def accuracy_of(network, images, labels):
    with torch.no_grad():
        return float((network(normalized(images)).argmax(1) == labels).double().mean())


@pytest.fixture(scope="module")
def net(digits):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(15):
            for chosen in torch.randperm(len(digits.train_labels)).split(64):
                logits = net(normalized(digits.train_images[chosen]))
                loss = F.cross_entropy(logits, digits.train_labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return net


@pytest.fixture(scope="module")
def data(digits):
    """A few hundred digits in two splits; validation is held out of train."""
    return {
        "train": Pictures(digits.train_images[:700], digits.train_labels[:700]),
        "test": TensorDataset(digits.test_images, digits.test_labels),
    }


def state_of(net):
    return copy.deepcopy(net.state_dict()), dict(os.environ), torch.get_rng_state()


@pytest.fixture(scope="module")
def first(net, data, tmp_path_factory):
    """A front, its home, and how network and process were before and after."""
    home = tmp_path_factory.mktemp("compressed")
    before = state_of(net)
    front = compress(net, data, "60%", home=home, **SECTIONS)
    return front, home, (before, state_of(net))


def test_the_members_of_the_front_run_and_give_what_was_reported(first, digits, net):
    front, *_ = first
    assert 1 <= len(front) <= 2
    assert [each.flops for each in front] == sorted(each.flops for each in front)
    (finalist,) = [each for each in front if each.finalist]
    for each in front:
        assert isinstance(each.network, nn.Module)
        assert not each.network.training
        assert each.flops <= 0.6 * front.teacher.flops
        assert count(each.network, 1, 3, 8, 8).flops == each.flops
        assert sum(value.numel() for value in each.network.parameters()) == each.params
    test = digits.test_images, digits.test_labels
    assert accuracy_of(finalist.network, *test) == pytest.approx(finalist.test_accuracy, abs=0.004)
    assert front.teacher.test_accuracy == pytest.approx(
        accuracy_of(copy.deepcopy(net).eval(), *test), abs=0.004
    )
    assert front.classes == Pictures.classes
    assert (front.image_size, list(front.normalize["mean"])) == (8, [0.3] * 3)


def test_a_printed_front_tells_what_was_reached_briefly_and_finished(first):
    front, *_ = first
    (finalist,) = [each for each in front if each.finalist]
    rows = {line.split()[0]: line.split()[-3:] for line in str(front).splitlines()}
    reached = (finalist.accuracy, finalist.finish_accuracy, finalist.test_accuracy)
    assert rows["trial"] == ["validation", "finished", "test"]
    assert rows[str(finalist.trial)] == [f"{each:.1%}" for each in reached]


def test_a_student_that_was_only_tried_has_the_weights_of_its_trial(net, data, tmp_path):
    sections = SECTIONS | {"finish": {"finalists": 0}, "plan": {"second": "svd(ratio=0.25)"}}
    validation = Pictures(data["train"].images[::3], data["train"].labels[::3])
    (student,) = compress(net, (data["train"], validation, data["test"]), **sections)
    assert (student.finalist, student.test_accuracy, student.files) == (False, None, {})
    assert str(student.plan["second"]) == "svd(ratio=0.25)"
    images, labels = validation.images, validation.labels
    assert accuracy_of(student.network, images, labels) == pytest.approx(student.accuracy, abs=0.01)


def test_the_network_that_was_given_and_the_process_stay_as_they_were(first, net):
    before, after = first[2]
    assert net.training
    assert all(torch.equal(after[0][name], value) for name, value in before[0].items())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert after[1] == before[1]
    assert torch.equal(after[2], before[2])
    with pytest.raises(UnknownArchitecture):
        architecture(of_module(net).name)


def test_the_same_call_again_answers_at_once_with_the_same(first, net, data):
    front, home, _ = first
    again = compress(net, data, "60%", home=home, **SECTIONS)
    assert len(jobs_of(home)) == 1
    assert str(again) == str(front)
    one, other = (each[0].network.state_dict() for each in (front, again))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_another_budget_in_the_same_home_takes_the_library_that_is_there(first, net, data):
    _, home, _ = first
    loaders = {
        "train": DataLoader(data["train"], batch_size=32, shuffle=True, drop_last=True),
        "test": DataLoader(data["test"], batch_size=50),
    }
    sections = SECTIONS | {"finish": {"finalists": 0}}
    compress(net, loaders, {"params": "70%"}, home=home, **sections)
    one, other = jobs_of(home)
    assert one.library_id == other.library_id
    assert one.status is other.status is JobStatus.SUCCEEDED


def test_exports_in_a_home_are_read_with_the_module_that_was_given(first, net, digits):
    (finalist,) = [each for each in first[0] if each.finalist]
    path = finalist.files["safetensors"]
    images = normalized(digits.test_images[:8])
    with torch.no_grad():
        assert torch.equal(load_student(path, Net())(images), finalist.network(images))
    with pytest.raises(WeightsError, match="the module given is"):
        load_student(path, Net(width=16))
    with pytest.raises(UnknownArchitecture):
        load_student(path)


def test_a_source_is_named_as_in_a_spec_and_a_path_as_it_is(net, tmp_path, digits):
    sections = SECTIONS | {"finish": {"finalists": 0}, "library": None}
    sections["search"] = sections["search"] | {"trials": 1}
    front = compress(net, "digits", "60%", dataset={"image_size": 8}, **sections)
    archive = tmp_path / "digits.npz"
    np.savez(
        archive,
        x_train=digits.train_images,
        y_train=digits.train_labels,
        x_test=digits.test_images,
        y_test=digits.test_labels,
    )
    assert compress(net, archive, "60%", **sections).teacher == front.teacher


def test_ctrl_c_leaves_nothing_running_and_the_next_call_goes_on(net, data, tmp_path, monkeypatch):
    sections = SECTIONS | {"finish": {"finalists": 0}}
    threads = set(threading.enumerate())
    with monkeypatch.context() as patch:
        call = local.Inline.call

        def interrupted(self, task, payload, **others):
            if task == "evaluate":
                raise KeyboardInterrupt
            return call(self, task, payload, **others)

        patch.setattr(local.Inline, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compress(net, data, "60%", home=tmp_path, **sections | {"progress": True})
    assert set(threading.enumerate()) <= threads
    assert "PARECONV_HOME" not in os.environ
    (job,) = jobs_of(tmp_path)
    assert job.status is JobStatus.CANCELLED
    front = compress(net, data, "60%", home=tmp_path, **sections)
    (again,) = jobs_of(tmp_path)
    assert (again.id, again.status) == (job.id, JobStatus.SUCCEEDED)
    assert len(front) >= 1


def jobs_of(home):
    stores = Stores.open(Settings(home=home, database_url=None, artifacts_url=None))
    jobs, _ = stores.jobs.page(10)
    stores.database.close()
    return jobs


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_tells_how_far_it_is_and_the_best_so_far(
    net, data, capsys, monkeypatch, is_terminal
):
    monkeypatch.setenv("TTY_COMPATIBLE", str(int(is_terminal)))
    sections = SECTIONS | {"finish": {"finalists": 0}, "library": None, "progress": True}
    front = compress(net, data, "60%", **sections)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"best {max(each.accuracy for each in front):.1%}" in err
    assert ("━" in err) == is_terminal
    assert ("% trial 0: accuracy" in err) == (not is_terminal)


def test_nothing_is_said_where_no_progress_is_asked_for(net, data, capfd):
    sections = SECTIONS | {"finish": {"finalists": 0}, "library": None}
    compress(net, data, "60%", **sections)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"budget": "0%"}, "budget.flops"),
        ({"budget": None}, "budget"),
        ({"trials": 3}, "trials"),
        ({"search": {"trial": 3}}, "search.trial"),
        ({"teacher": {"weights": "default"}}, "teacher.weights.*'model'"),
        ({"dataset": {"source": "digits"}}, "dataset.source.*'data'"),
        ({"finish": 3}, "finish"),
        ({"normalize": "imagenets"}, "normalize"),
        ({"plan": {"third": "svd"}, "budget": None}, "plan.*third"),
        ({"budget": "1%"}, "budget.flops.*cannot be reached"),
    ],
)
def test_a_bad_argument_is_refused_by_its_name(net, changes, field):
    given = {"budget": "50%", "dataset": {"image_size": 8}} | SECTIONS | changes
    with pytest.raises((ValueError, InvalidSpec), match=f"(?s){field}"):
        compress(net, "digits", **given)


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (Net(classes=9), "teacher.num_classes.*10 classes"),
        (Net(channels=1), "three channels"),
        (
            nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1)),
            r"one score for each class, \[2, 10\]",
        ),
        (nn.Identity(), "model: .*no last linear layer"),
    ],
)
def test_a_model_that_cannot_be_a_teacher_is_refused(model, field):
    with pytest.raises((ValueError, InvalidSpec), match=f"(?s){field}"):
        compress(model, "digits", "50%", dataset={"image_size": 8}, **SECTIONS)


def images(dtype=torch.uint8, shape=(3, 8, 8), scale=255):
    return (torch.rand(4, *shape, generator=torch.Generator()) * scale).to(dtype)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (3, "data.train: a int is no data set"),
        (images(), "data.train: a Tensor is no data set"),
        ({"training": []}, "data: no split is called 'training'"),
        ({"test": []}, "data: there is no train split"),
        ([], "data.train: there is no image in it"),
        ([(image, 0) for image in images(torch.float32, scale=3)], "normalize="),
        ([(image, 0) for image in images(torch.int64)], "torch.int64"),
        ([(image, 0) for image in images(shape=(4, 8, 8))], r"shape \[4, 8, 8\]"),
        ([(image, 0.5) for image in images()], "the label of image 0 is a float"),
        ([image[0] for image in images()], "as a Tensor; let it come as"),
        ([(images()[0], 0), (images(shape=(3, 9, 8))[0], 1)], "image 1 is 8 x 9 pixels"),
        ([(Image.new("I;16", (8, 8)), 0)], "of mode I;16"),
        ("nowhere.zip", "dataset.source.*does not exist"),
    ],
)
def test_images_that_cannot_be_taken_as_they_are_are_refused(data, reason):
    with pytest.raises(InvalidSpec, match=f"(?s){reason}"):
        compress(Net(), data, "50%", **SECTIONS)


def test_a_network_is_called_by_what_it_computes():
    class Other(Net):
        def forward(self, x):
            return -super().forward(x)

    Other.__name__ = "Net"
    assert of_module(Net()).name == of_module(Net().eval()).name
    assert len({of_module(each).name for each in (Net(), Net(width=16), Other())}) == 3
    with lent(Net()) as known:
        assert architecture(known.name) is known
        assert known.build(4)(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
