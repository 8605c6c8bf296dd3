"""Every network that can be asked for by name: of the zoo, of timm, of installed packages, and
those lent to this process.
"""

import difflib

from pareconv.models.errors import UnknownArchitecture
from pareconv.models.teachers import installed, lending, timm_networks
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.zoo import ZOO


def architecture(name: str) -> Architecture:
    """Look a network up; raise UnknownArchitecture, which offers the nearest names."""
    if name in ZOO:
        return ZOO[name]
    if name.startswith(timm_networks.PREFIX):
        return timm_networks.find(name)
    if (own := lending.find(name) or installed.find(name)) is not None:
        return own
    near = _near(name.lower())
    offer = f"the nearest are {', '.join(near)}; " if near else ""
    raise UnknownArchitecture(
        f"unknown architecture {name!r}; {offer}`pareconv architectures` (GET /architectures) "
        "lists all"
    )


def architectures(search: str = "") -> list[Architecture]:
    """All networks whose name or family holds the text; a package's own come first."""
    own = [each for each in installed.listed() if each.name not in ZOO]
    every = [*own, *ZOO.values(), *timm_networks.listed()]
    return [each for each in every if search.lower() in f"{each.name} {each.family}".lower()]


def _near(name: str) -> list[str]:
    # Those that hold the name come first: `resnet20` is nearer to `resnet50` by letters alone.
    known = [*(each.name for each in installed.listed()), *ZOO]
    holding = [each for each in known if name in each]
    similar = difflib.get_close_matches(name, known, n=5)
    return list(dict.fromkeys(holding + similar))[:5]
