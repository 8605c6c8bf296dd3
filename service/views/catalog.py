"""What a form needs: architectures, operators and methods, each documenting itself."""

from pydantic import BaseModel, ConfigDict, Field

_Number = int | float | None


class ArchitectureView(BaseModel):
    """A network by name. Sizes are the side of a square image in pixels."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "cifar_resnet20",
                "family": "cifar_resnet",
                "source": "arXiv:1512.03385, section 4.2",
                "min_size": 8,
                "default_size": 32,
                "pretrained": False,
            }
        }
    )

    name: str
    family: str
    source: str = Field(description="the paper")
    min_size: int
    default_size: int
    pretrained: bool = Field(description="whether `weights` may be `default`")


class HyperView(BaseModel):
    """A hyper-parameter of an operator: its bounds, the values that a search tries, and what it is
    where it is not given; null where it must be.
    """

    name: str
    low: _Number
    high: _Number
    grid: list[int | float]
    description: str
    default: _Number


class OperatorView(BaseModel):
    """A way to make a block cheaper."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "svd",
                "summary": "a k x 1 convolution, then a 1 x k one",
                "formula": "k x 1 Ci -> R, 1 x k R -> Co",
                "cost": "params R*k*(Ci+Co)",
                "source": "arXiv:1405.3866",
                "when": "The first choice from half to a quarter of the cost.",
                "hyper": [
                    {
                        "name": "ratio",
                        "low": 0.0,
                        "high": 1.0,
                        "grid": [0.25, 0.5],
                        "description": "rank, as a share of the full one",
                        "default": None,
                    }
                ],
            }
        }
    )

    name: str
    summary: str
    formula: str = Field(description="what it computes")
    cost: str = Field(description="parameters and multiply-adds, without biases")
    source: str
    when: str = Field(description="to use it")
    hyper: list[HyperView]


class ParameterView(BaseModel):
    """A parameter of a distillation method: a number within bounds, a word of `choices`, or true
    and false.
    """

    name: str
    default: bool | int | float | str
    low: _Number
    high: _Number
    description: str
    choices: list[str]


class MethodView(BaseModel):
    """A distillation method."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "kd",
                "summary": "the student imitates the teacher's softened logits",
                "formula": "alpha T^2 KL(teacher || student) + (1 - alpha) CE",
                "cost": "a forward pass of the teacher",
                "source": "arXiv:1503.02531",
                "when": "The plain choice.",
                "parameters": [
                    {
                        "name": "temperature",
                        "default": 4.0,
                        "low": 0.0,
                        "high": 100.0,
                        "description": "softens the logits of both",
                        "choices": [],
                    }
                ],
            }
        }
    )

    name: str
    summary: str
    formula: str
    cost: str = Field(description="of a training image, beside the student's own")
    source: str
    when: str = Field(description="to use it")
    parameters: list[ParameterView]
