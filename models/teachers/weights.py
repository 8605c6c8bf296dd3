"""A network's weights: read from a file without running it, put into a network. Knows no graph."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision import models

from pareconv.models.errors import WeightsError
from pareconv.models.teachers import timm_networks
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.misfit import other_classes, refuse_misfit

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how the two forms of torch.save begin

_SAVE = "save model.state_dict() alone, by torch.save or safetensors.torch.save_file"
_SEND = "copy or upload it again"

# What zipfile raises for bytes that nobody zipped, or that were damaged since.
ZIP_FAULTS = (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error)

# What torch's own weights-only unpickler raises for bytes that no torch.save wrote.
_MALFORMED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict onto the CPU: safetensors or torch.save, told apart by content.

    Wrappers such as `{"state_dict": ...}` and the prefixes `module.` and `_orig_mod.` are taken
    off. Pickled code is never run. Raises WeightsError, with cause and remedy, for a file that
    cannot be read so, holds anything but dense tensors by name, or holds a NaN or an infinity.
    """
    path = Path(path)
    try:
        content = _content(path)
    except OSError as error:
        raise WeightsError(
            f"weights file {path.name!r} cannot be opened: {error.strerror or error}"
        ) from error
    weights = _without_prefixes(_tensors(_unwrapped(content), path))
    _refuse_non_finite(weights, path)
    return weights


def load_weights(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    training_only: frozenset[str] = frozenset(),
    any_classes: bool = False,
) -> bool:
    """Put weights into a network, all of them or, when they do not fit, none. Answers whether all
    of it is theirs.

    Keys of the modules named in `training_only` (auxiliary heads) may be there in excess, and
    `num_batches_tracked` may be missing. Weights [O, I] of a linear layer fit the 1x1 convolution
    that the canonical graph has in its place. With `any_classes` the network keeps its own
    classifier where that of the weights is of another number of classes. Raises one WeightsError
    that counts every key that is missing, unexpected or of another shape, and names the first few
    of each.
    """
    target = module.state_dict()
    offered = {
        key: _as_kernel(value, target.get(key))
        for key, value in weights.items()
        if key in target or not _is_within(key, training_only)
    }
    misfit = other_classes(target, offered) if any_classes else frozenset()
    offered = {key: value for key, value in offered.items() if key not in misfit}
    refuse_misfit({key: value for key, value in target.items() if key not in misfit}, offered)
    # The network's own dict goes back in, as it alone carries the version metadata without which
    # MNASNet refuses to load.
    target.update(offered)
    module.load_state_dict(target)
    return not misfit


def _as_kernel(value: Tensor, target: Tensor | None) -> Tensor:
    """The same weights, of the shape of a 1x1 kernel where a matrix is to go into one."""
    if value.dim() == 2 and target is not None and target.shape == (*value.shape, 1, 1):
        return value[:, :, None, None]
    return value


def pretrained(name: str) -> dict[str, Tensor]:
    """torchvision's or timm's default weights of that name, from their cache or the network.

    Those of GoogLeNet and Inception expect inputs normalised by mean 0.5 and deviation 0.5.
    Raises UnknownArchitecture, or WeightsError where there are none or they cannot be fetched.
    """
    if not architecture(name).pretrained:
        raise WeightsError(
            f"{name} has no default weights; give a weights file, or none to train it first"
        )
    if name.startswith(timm_networks.PREFIX):
        return timm_networks.fetch(name)
    url: str = models.get_model_weights(name).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlsplit(url).path).name
    if not path.exists():
        _download(url, path)
    return {_current_key(key): value for key, value in read_weights(path).items()}


def is_safetensors(path: Path) -> bool:
    """By content: after the length of the header, in eight bytes, comes its JSON."""
    start = _start(path)
    return start[8:] == b"{" and not start.startswith(_ZIP)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(9)


def _content(path: Path) -> Any:
    start = _start(path)
    if not start:
        raise _refused(path, "is empty", remedy=_SEND)
    if start.startswith(_ZIP):
        _refuse_foreign_zip(path)
    return _read_safetensors(path) if is_safetensors(path) else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise _refused(
            path, f"is a truncated or damaged safetensors file ({error})", remedy=_SEND
        ) from error


def _read_torch(path: Path) -> Any:
    # An open file, as torch.load would choose the format of a path by its suffix.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever torch warns of here is read, or refused below
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except _MALFORMED as error:
            raise _refused_pickle(path, error) from error


def _refuse_foreign_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ZIP_FAULTS as error:
        raise _refused(path, f"is truncated or damaged ({error})", remedy=_SEND) from error
    names = {PurePosixPath(member.filename).name for member in members}
    if "constants.pkl" in names:
        raise _refused(path, "is a TorchScript archive, which is code")
    if "data.pkl" not in names:
        raise _refused(path, "is a zip archive that torch.save did not write")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _refused(path, "unpacks to more than its own size, which torch.save never does")


def _refused_pickle(path: Path, error: Exception) -> WeightsError:
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code is not None:
        return _refused(
            path,
            f"holds pickled code, which is not run (it names {code[1]!r}): a whole pickled module, "
            "or a checkpoint with more than tensors",
            remedy=f"{_SAVE}, or export a network of your own by torch.onnx.export",
        )
    with path.open("rb") as file:
        is_pickle = file.read(4).startswith((_PICKLE, _ZIP))
    if is_pickle:
        return _refused(
            path, "is truncated, or a pickle that torch.save did not write; it was not run"
        )
    return _refused(path, "is neither a safetensors nor a torch.save file, and no ONNX")


def _unwrapped(content: Any) -> Any:
    for _ in _WRAPPERS:  # a bound, as a hostile dict may hold itself
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _WRAPPERS if key in content), None)
        content = inner if isinstance(inner, Mapping) else content
    return content


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise _refused(path, f"holds a {type(content).__name__}, not tensors by name")
    if not content:
        raise _refused(path, "holds no tensors")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise _refused(path, f"holds a {type(value).__name__} at {key!r}, not only tensors")
        if not _is_dense(value):
            raise _refused(path, f"holds at {key!r} a tensor that is not dense")
    return {key: value.detach() for key, value in content.items()}


def _is_dense(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return False
    # A view larger than its storage costs a hostile file nothing, and us all memory when read.
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _refuse_non_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    for key, value in weights.items():
        if not value.isfinite().all():
            raise WeightsError(
                f"weights file {path.name!r} holds NaN or infinity at {key!r}: the training that "
                "wrote it diverged; take an earlier checkpoint"
            )


def _refused(path: Path, cause: str, *, remedy: str = _SAVE) -> WeightsError:
    return WeightsError(f"weights file {path.name!r} {cause}; {remedy}")


def _is_within(key: str, modules: Iterable[str]) -> bool:
    return any(key.startswith(f"{module}.") for module in modules)


def _download(url: str, path: Path) -> None:
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"default weights cannot be fetched from {url}: {error}; fetch the file elsewhere and "
            f"put it at {path}, or give a weights file"
        ) from error


def _current_key(key: str) -> str:
    # torchvision's DenseNet files hold `norm.1`, its network `norm1`.
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
