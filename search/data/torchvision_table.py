"""The data sets of torchvision that a spec may name, and how each is opened. Imports nothing."""

from dataclasses import dataclass

_Splits = tuple[dict[str, str | bool], ...]


@dataclass(frozen=True, slots=True)
class TorchvisionSet:
    """Its class in `torchvision.datasets`; which files below the root it reads, as a pattern of
    which the first part is its folder; the arguments that choose train, test and, where it has one,
    validation; whether it takes a `loader`, which is then given the path of each image.
    """

    cls: str
    files: str
    splits: _Splits
    is_of_files: bool = False

    @property
    def folder(self) -> str | None:
        """None where the files lie in the root itself."""
        return self.files.split("/")[0] if "/" in self.files else None


_FLAG: _Splits = ({"train": True}, {"train": False})
_NAME: _Splits = ({"split": "train"}, {"split": "test"})
_WITH_VALIDATION: _Splits = (*_NAME, {"split": "val"})

TORCHVISION_SETS = {
    "cifar10": TorchvisionSet("CIFAR10", "cifar-10-batches-py/*", _FLAG),
    "cifar100": TorchvisionSet("CIFAR100", "cifar-100-python/*", _FLAG),
    "mnist": TorchvisionSet("MNIST", "MNIST/raw/*", _FLAG),
    "fashion_mnist": TorchvisionSet("FashionMNIST", "FashionMNIST/raw/*", _FLAG),
    "kmnist": TorchvisionSet("KMNIST", "KMNIST/raw/*", _FLAG),
    "svhn": TorchvisionSet("SVHN", "*_32x32.mat", _NAME),
    "stl10": TorchvisionSet("STL10", "stl10_binary/*", _NAME),
    "flowers102": TorchvisionSet("Flowers102", "flowers-102/**/*", _WITH_VALIDATION, True),
    "food101": TorchvisionSet("Food101", "food-101/**/*", _NAME, True),
    "dtd": TorchvisionSet("DTD", "dtd/dtd/**/*", _WITH_VALIDATION, True),
}
