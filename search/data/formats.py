"""Formats: what a file of data is, told by its content and never by its name."""

import zipfile
from pathlib import Path
from typing import Literal

from pareconv.search.data.archive import DAMAGED_ZIP
from pareconv.search.data.tar import is_tar
from pareconv.search.errors import InvalidSpec

Format = Literal["zip", "tar", "npz"]


def format_of(path: Path) -> Format:
    """InvalidSpec where it is none of these."""
    try:
        if is_tar(path):
            return "tar"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED_ZIP as error:
        raise InvalidSpec(
            "dataset.source",
            f"{path.name!r} is not a zip archive, a tar (plain, gzip, bzip2 or xz) or a numpy "
            f"archive (.npz), or was cut short ({error}); pack it again, or upload it again",
        ) from error
    except OSError as error:
        raise InvalidSpec(
            "dataset.source", f"{path.name!r} cannot be read: {error.strerror or error}"
        ) from error
    is_npz = bool(names) and all(name.endswith(".npy") for name in names)
    return "npz" if is_npz else "zip"
