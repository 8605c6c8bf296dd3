"""The GPUs of this machine and how full their memory is, as the driver tells it. Knows no torch."""

import logging
import os
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)


def gpus() -> list[dict[str, Any]]:
    """`id`, `name`, `used_bytes` (by whomever) and `total_bytes` of each GPU that this process may
    use; none where there is no NVIDIA driver.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        found = [_described(pynvml, handle) for handle in handles]
    except pynvml.NVMLError as error:
        logger.warning("the GPUs do not answer: %s", error)
        return []
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return _visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _described(pynvml: Any, handle: Any) -> dict[str, Any]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "id": str(pynvml.nvmlDeviceGetUUID(handle)),
        "name": str(pynvml.nvmlDeviceGetName(handle)),
        "used_bytes": int(memory.used),
        "total_bytes": int(memory.total),
    }


def _visible(found: list[dict[str, Any]], named: str | None) -> list[dict[str, Any]]:
    """Those that CUDA_VISIBLE_DEVICES names, by number or by the beginning of their id."""
    if named is None:
        return found
    names = [name.strip() for name in named.split(",") if name.strip()]
    return [
        gpu
        for number, gpu in enumerate(found)
        if any(name == str(number) or gpu["id"].startswith(name) for name in names)
    ]
