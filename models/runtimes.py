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
    network, file = copy.deepcopy(network).cpu().eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every Python branch, and of its own age
        # The newer exporter takes fifty times as long, for a graph that runs alike.
        torch.onnx.export(network, (_on_cpu(value),), file, dynamo=False, verbose=False)  # type: ignore[arg-type]  # the older one takes a buffer
    return file.getvalue()
