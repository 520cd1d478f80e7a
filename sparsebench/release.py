"""Release: whether the installed package is one that was published, and still as it was."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution

PACKAGE = "sparsebench"


def released(name: str = PACKAGE) -> str | None:
    """The version of an unchanged package that was installed by name from an index; None for anything else.

    Installed from a folder, a file or an address it says so (``direct_url.json``, PEP 610), and then its version says
    nothing of its content. The files are compared with the digests that were installed with them.
    """
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return None
    if installed.read_text("direct_url.json") is not None or not _unchanged(installed):
        return None
    return installed.version


def _unchanged(installed: Distribution) -> bool:
    code = [file for file in installed.files or () if file.suffix in (".py", ".yaml")]
    return bool(code) and all(file.hash and _digest(file.locate()) == file.hash.value for file in code)


def _digest(path) -> str:
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    return urlsafe_b64encode(sha256(content).digest()).decode().rstrip("=")
