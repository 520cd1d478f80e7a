"""Trees of tensors (nested dicts, lists and plain values) as safetensors plus JSON: loading runs no code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from sparsebench.errors import SparsebenchError
from sparsebench.files import write_atomic

KIND = "sparsebench.tree"


class CorruptArtifact(SparsebenchError):
    """A stored file is missing, truncated or not what it should be."""


def map_tensors(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same tree with a function applied to each tensor.

    >>> map_tensors({"a": [torch.ones(2), 3]}, lambda t: t * 2)
    {'a': [tensor([2., 2.]), 3]}
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, function) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(value, function) for value in tree)
    return tree


def save(tree: Any, path: str | Path) -> None:
    """Write a tree atomically; values must be tensors, JSON's, or tuples."""
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_encode(tree, tensors))
    # safetensors refuses tensors that share memory, such as tied weights.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    write_atomic(Path(path), safetensors_bytes(tensors, metadata={KIND: structure}))


def load(path: str | Path) -> Any:
    """Read a tree.

    Raises:
        CorruptArtifact: the file is missing, truncated or holds something else.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            structure = json.loads((file.metadata() or {})[KIND])
            return _decode(structure, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CorruptArtifact(f"{path}: {type(error).__name__}: {error}") from error


def digest(tree: Any) -> str:
    """Hash of a tree's structure and of every tensor's bytes."""
    tensors: dict[str, Tensor] = {}
    total = sha256(json.dumps(_encode(tree, tensors)).encode())
    for tensor in tensors.values():
        total.update(tensor_bytes(tensor))
    return total.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _encode(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for a tree; tensors go to the side. Dicts become pairs, so that integer keys survive."""
    if isinstance(tree, Tensor):
        name = f"t{len(tensors):05d}"
        tensors[name] = tree.detach().cpu().contiguous()
        return {"tensor": name, "dtype": str(tree.dtype), "shape": list(tree.shape)}
    if isinstance(tree, Mapping):
        return {"dict": [[key, _encode(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_encode(value, tensors) for value in tree]}
    if tree is None or isinstance(tree, bool | int | float | str):
        return {"value": tree}
    raise TypeError(f"a stored tree holds tensors and plain values, not {type(tree).__name__}")


def _decode(node: dict, tensors: dict[str, Tensor]) -> Any:
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "dict" in node:
        return {key: _decode(value, tensors) for key, value in node["dict"]}
    if "list" in node:
        return [_decode(value, tensors) for value in node["list"]]
    if "tuple" in node:
        return tuple(_decode(value, tensors) for value in node["tuple"])
    return node["value"]
