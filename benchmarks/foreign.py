"""Networks that Pareconv did not make, trained briefly on a tar of images: ONNX files, weights."""

import io
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from timm.utils.onnx import onnx_export
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import convnext_tiny, resnet34

NORMALIZE = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}

_EPOCHS = 3
_BATCH = 64


def legacy_exporter(path: Path, images: Path, size: int) -> None:
    """A ResNet-34 of torchvision by the exporter that torch had first."""
    network = _trained(resnet34(num_classes=10), images, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size, size),),
            path,
            dynamo=False,
            opset_version=13,
            input_names=["pixels"],
            dynamic_axes={"pixels": {0: "batch"}},
        )


def timm_exporter(path: Path, images: Path, size: int) -> None:
    """A MobileNetV3 of timm by `timm.utils.onnx`."""
    network = timm.create_model("mobilenetv3_small_100", num_classes=10, exportable=True)
    network = _trained(network, images, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx_export(network, str(path), batch_size=1, input_size=(3, size, size))


def assembled(path: Path, images: Path, size: int) -> None:
    """A small Inception net written node by node with `onnx.helper`."""
    _write(_trained(_Inception(), images, size), path, size)


def convnext_weights(path: Path, images: Path, size: int) -> None:
    """A ConvNeXt-T's state dict. SGD does not get one started from random weights; its paper takes
    AdamW (arXiv:2201.03545, appendix A).
    """
    network = convnext_tiny(num_classes=10)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    torch.save(_trained(network, images, size, optimizer).state_dict(), path)


class _Inception(nn.Module):
    """Two convolutions, and twice a 1x1 and a 3x3 convolution side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            for inputs, outputs, kernel in (
                (3, 32, 3), (32, 64, 3), (64, 32, 1), (64, 64, 3), (96, 64, 1), (96, 64, 3),
            )
        )  # fmt: skip
        self.norms = nn.ModuleList(nn.BatchNorm2d(conv.out_channels) for conv in self.convs)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self._unit(1, self._unit(0, x)), 2)
        x = functional.max_pool2d(torch.cat([self._unit(2, x), self._unit(3, x)], 1), 2)
        x = torch.cat([self._unit(4, x), self._unit(5, x)], 1)
        return self.head(x.mean((2, 3)))

    def _unit(self, place: int, x: Tensor) -> Tensor:
        return functional.relu(self.norms[place](self.convs[place](x)))


def _write(network: _Inception, path: Path, size: int) -> None:
    nodes, weights = [], []

    def held(name: str, tensor: Tensor) -> str:
        weights.append(numpy_helper.from_array(tensor.detach().numpy(), name))
        return name

    def unit(place: int, source: str) -> str:
        conv, norm = network.convs[place], network.norms[place]
        named = [
            held(f"norm{place}.{each}", getattr(norm, each))
            for each in ("weight", "bias", "running_mean", "running_var")
        ]
        pads = [conv.kernel_size[0] // 2] * 4
        kernel = held(f"conv{place}", conv.weight)
        nodes.append(helper.make_node("Conv", [source, kernel], [f"c{place}"], pads=pads))
        nodes.append(
            helper.make_node(
                "BatchNormalization", [f"c{place}", *named], [f"n{place}"], epsilon=norm.eps
            )
        )
        nodes.append(helper.make_node("Relu", [f"n{place}"], [f"r{place}"]))
        return f"r{place}"

    def node(kind: str, sources: list[str], target: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, sources, [target], **attributes))
        return target

    halved = {"kernel_shape": [2, 2], "strides": [2, 2]}
    x = node("MaxPool", [unit(1, unit(0, "x"))], "p0", **halved)
    x = node("Concat", [unit(2, x), unit(3, x)], "j0", axis=1)
    x = node("MaxPool", [x], "p1", **halved)
    x = node("Concat", [unit(4, x), unit(5, x)], "j1", axis=1)
    x = node("Flatten", [node("GlobalAveragePool", [x], "g")], "f")
    head = [held("head.weight", network.head.weight), held("head.bias", network.head.bias)]
    node("Gemm", [x, *head], "scores", transB=1)
    graph = helper.make_graph(
        nodes,
        "inception",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    onnx.save(model, path)


def batches(images: Path, split: str, size: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images [N, 3, size, size] and labels of a split, in an order by chance."""
    pictures, labels = _read(images, split, size)
    for chosen in torch.randperm(len(labels)).split(batch):
        pixels = torch.from_numpy(pictures[chosen.numpy()]).float().permute(0, 3, 1, 2) / 255
        yield (pixels - 0.5) / 0.25, labels[chosen]


def _read(images: Path, split: str, size: int) -> tuple[np.ndarray, Tensor]:
    pictures, names = [], []
    with tarfile.open(images) as archive:
        for member in archive:
            folder, name, _ = member.name.split("/")
            if folder == split:
                content = archive.extractfile(member)
                assert content is not None
                picture = Image.open(io.BytesIO(content.read())).convert("RGB")
                resized = picture.resize((size, size), Image.Resampling.BILINEAR)
                pictures.append(np.asarray(resized))
                names.append(name)
    classes = sorted(set(names))
    return np.stack(pictures), torch.tensor([classes.index(name) for name in names])


def _trained(
    network: nn.Module, images: Path, size: int, optimizer: torch.optim.Optimizer | None = None
) -> nn.Module:
    torch.manual_seed(0)
    if optimizer is None:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    network.train()
    for _ in range(_EPOCHS):
        for pixels, labels in batches(images, "train", size, _BATCH):
            loss = functional.cross_entropy(network(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()
