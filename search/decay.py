"""Weight decay: how much of it each layer gets."""

from torch import nn


def scaled(student: nn.Module, teacher: nn.Module, decay: float) -> dict[str, float]:
    """Parameter -> weight decay, for the layers of `student` that hold fewer parameters than the
    convolutions of `teacher` in whose place they are: times the share that is left.

    "Otherwise heavily compressed layers do not train" (Gray et al. 2019, arXiv 1906.00859, in the
    log of github.com/BayesWatch/deficient-efficient).
    """
    found: dict[str, float] = {}
    layers = dict(student.named_modules())
    for name, conv in teacher.named_modules():
        if isinstance(conv, nn.Conv2d) and name in layers:
            share = _size(layers[name]) / _size(conv)
            if share < 1:
                for parameter, _ in layers[name].named_parameters(prefix=name):
                    found[parameter] = share * decay
    return found


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
