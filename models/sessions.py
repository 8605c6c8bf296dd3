"""Sessions: ONNX models as onnxruntime runs them on the CPU. Knows no torch."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pareconv.models.timing import Runner


def session_runner(model: bytes, inputs: Sequence[NDArray[np.float32]], threads: int) -> Runner:
    """Computes once what the model gives for its `inputs`, in their order."""
    session = _session(model, threads)
    names = [each.name for each in session.get_inputs()]
    feeds = dict(zip(names, inputs, strict=True))
    return lambda: session.run(None, feeds)


def random_runner(model: bytes, threads: int) -> Runner:
    """The same for random numbers of the shapes that the model takes."""
    shapes = [each.shape for each in _session(model, threads).get_inputs()]
    draw = np.random.default_rng(0)
    inputs = [draw.standard_normal(shape, dtype=np.float32) for shape in shapes]
    return session_runner(model, inputs, threads)


def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
