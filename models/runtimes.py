"""Runtimes: what runs a network where its latency counts. A runner computes once, on a value that
it holds.
"""

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from pareconv.models.sessions import session_runner
from pareconv.models.timing import Runner

Runtime = Literal["onnxruntime", "torch"]
Value = Tensor | Sequence[Tensor]  # several where a block takes the parts of one that was split


def runner(runtime: Runtime, network: nn.Module, value: Value, threads: int) -> Runner:
    """Of `network` on that `value`, in eval mode: `onnxruntime` on the CPU, `torch` as it is, where
    it is.

    The number of `threads` of torch is the process's: see `threads_of_torch`.
    """
    network.eval()
    if runtime == "torch":
        return _torch_runner(network, value)
    inputs = [each.numpy(force=True) for each in tensors(value)]
    return session_runner(onnx_model(network, value), inputs, threads)


@contextmanager
def threads_of_torch(threads: int) -> Iterator[None]:
    """While entered, torch computes with so many."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions(runtime: Runtime) -> dict[str, str]:
    """Of the libraries that decide how fast it is."""
    names = ("torch",) if runtime == "torch" else ("onnxruntime",)
    return {name: version(name) for name in names}


def tensors(value: Value) -> Sequence[Tensor]:
    """The parts of a value, or the one that it is."""
    return [value] if isinstance(value, Tensor) else value


def _on_cpu(value: Value) -> Value:
    if isinstance(value, Tensor):
        return value.cpu().contiguous()
    return [part.cpu().contiguous() for part in value]


def _torch_runner(network: nn.Module, value: Value) -> Runner:
    is_on_cuda = tensors(value)[0].is_cuda

    def run() -> None:
        with torch.inference_mode():
            network(value)
        if is_on_cuda:
            torch.cuda.synchronize()

    return run


def onnx_model(network: nn.Module, value: Value) -> bytes:
    """The network in eval mode as an ONNX model that takes inputs of the shapes of `value`."""
    network, value = copy.deepcopy(network).cpu().eval(), _on_cpu(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporters warn of branches and of their own age
        try:
            return _by_older_exporter(network, value)
        except OnnxExporterError:  # as of a pool to a size that does not divide its input's
            return _by_newer_exporter(network, value)


def _by_older_exporter(network: nn.Module, value: Value) -> bytes:
    """A fiftieth of the newer one's time, for a graph that runs alike."""
    file = io.BytesIO()
    torch.onnx.export(network, (value,), file, dynamo=False, verbose=False)  # type: ignore[arg-type]  # typed for paths, it takes a buffer
    return file.getvalue()


def _by_newer_exporter(network: nn.Module, value: Value) -> bytes:
    program = torch.onnx.export(network, (value,), dynamo=True, verbose=False)
    assert program is not None  # only the older one returns nothing
    model: bytes = program.model_proto.SerializeToString()
    return model
