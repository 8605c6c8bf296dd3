"""Every ONNX operator that has a counterpart here, with what converts it."""

import operator

import torch
from torch import nn

from pareconv.models.teachers.onnx_file import elementwise, layers, padding, pooling, shapes
from pareconv.models.teachers.onnx_file.building import Converter
from pareconv.models.teachers.onnx_file.elementwise import activation, arithmetic, function

CONVERTERS: dict[str, Converter] = {
    "Conv": layers.conv,
    "BatchNormalization": layers.batch_norm,
    "LayerNormalization": layers.layer_norm,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "PRelu": layers.prelu,
    "LRN": pooling.local_response_norm,
    "Relu": activation(lambda _: nn.ReLU()),
    "LeakyRelu": activation(lambda given: nn.LeakyReLU(given.get("alpha", 0.01))),
    "Elu": activation(lambda given: nn.ELU(given.get("alpha", 1.0))),
    "Sigmoid": activation(lambda _: nn.Sigmoid()),
    "Tanh": activation(lambda _: nn.Tanh()),
    "HardSwish": activation(lambda _: nn.Hardswish()),
    "Mish": activation(lambda _: nn.Mish()),
    "Gelu": activation(lambda given: nn.GELU(given.get("approximate", "none"))),
    "Swish": elementwise.swish,
    "HardSigmoid": elementwise.hard_sigmoid,
    "Clip": elementwise.clip,
    "Softmax": elementwise.softmax,
    "Dropout": elementwise.dropout,
    "Add": arithmetic(operator.add),
    "Sub": arithmetic(operator.sub),
    "Mul": arithmetic(operator.mul),
    "Div": arithmetic(operator.truediv),
    "Pow": arithmetic(operator.pow),
    "Sqrt": function(torch.sqrt),
    "Exp": function(torch.exp),
    "Erf": function(torch.erf),
    "Abs": function(torch.abs),
    "Neg": function(torch.neg),
    "MaxPool": pooling.max_pool,
    "AveragePool": pooling.average_pool,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "ReduceMean": pooling.reduce_mean,
    "ReduceSum": pooling.reduce_sum,
    "Resize": pooling.resize,
    "Pad": padding.pad,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Transpose": shapes.transpose,
    "Concat": shapes.concat,
    "Split": shapes.split,
    "Slice": shapes.slice_,
    "Shape": shapes.shape,
    "Gather": shapes.gather,
    "Unsqueeze": shapes.unsqueeze,
    "Squeeze": shapes.squeeze,
    "Identity": shapes.identity,
    "Cast": shapes.cast,
    "Constant": shapes.constant,
}
