"""Runtimes: what runs a network where its latency counts. A runner computes once, on inputs that it
holds.
"""

import copy
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

import onnxruntime
import torch
from torch import Tensor, nn

Runtime = Literal["onnxruntime", "torch"]
Runner = Callable[[], object]
Value = Tensor | Sequence[Tensor]  # several where a block takes the parts of one that was split


def runner(runtime: Runtime, network: nn.Module, value: Value, threads: int) -> Runner:
    """Of `network` on that `value`, in eval mode: `onnxruntime` on the CPU, `torch` as it is, where
    it is.

    The number of `threads` of torch is the process's: see `threads_of_torch`.
    """
    network.eval()
    if runtime == "torch":
        return _torch_runner(network, value)
    value = _on_cpu(value)
    return _session_runner(_onnx(copy.deepcopy(network).cpu(), value), value, threads)


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


def _session_runner(model: bytes, value: Value, threads: int) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    feeds: Mapping[str, object] = {
        name: part.numpy() for name, part in zip(names, tensors(value), strict=True)
    }
    return lambda: session.run(None, feeds)


def _onnx(network: nn.Module, value: Value) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every Python branch, and of its own age
        # The newer exporter takes fifty times as long, for a graph that runs alike.
        torch.onnx.export(network, (value,), file, dynamo=False, verbose=False)  # type: ignore[arg-type]  # the older one takes a buffer
    return file.getvalue()
