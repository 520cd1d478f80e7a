"""Export: a pruned network as a file that others can read.

| suffix | content | read with |
| --- | --- | --- |
| ``.pt`` | the dense ``state_dict``, pruned weights 0 | ``torch.load(path, weights_only=True)`` |
| ``.safetensors`` | the same and the masks, eight to a byte, in one file | ``sparsebench.export.load`` |
| ``.onnx`` | the network as a graph with a free batch dimension, checked against torch | onnxruntime and others |

Zeros are stored like any other number: none of these files makes a network smaller or faster by itself
(see docs/why_not_faster.md). Reading the first two runs no code.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.files import write_atomic
from sparsebench.masks import Masks
from sparsebench.scope import scope_of

KIND = "sparsebench.network"
FORMATS = ("pt", "safetensors", "onnx")
TOLERANCE = 1e-4
"""Largest difference between onnxruntime and torch, in units of the largest output or of 1 if that is less."""

_MASK = "mask:"


def export(
    model: nn.Module,
    path: str | Path,
    masks: Masks | None = None,
    *,
    example: Tensor | None = None,
    format: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a pruned network to a file, whole or not at all. The model itself is left as it is.

    Args:
        masks: which weights are kept; what they remove is 0 in the file. Default: the prunable weights that are not 0.
        example: one batch of inputs ``[B, ...]``; needed by ``onnx``, which is checked on it.
        format: ``pt``, ``safetensors`` or ``onnx``; default by the suffix.
        metadata: JSON to keep beside the weights in ``safetensors``: task, network and its arguments, ...

    Returns:
        ``path``, ``format``, ``bytes``, ``sparsity`` and, for ``onnx``, ``largest_difference`` to torch.

    Raises:
        UsageError: unknown format, masks of another network, metadata that are no JSON, example or package missing.
        SparsebenchError: the network cannot be exported, or the exported one computes something else.
    """
    path = Path(path)
    kind = format or path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"format {kind!r} of {path} is unknown: give a file name ending in .{', .'.join(FORMATS)}")
    if masks is None:
        masks = Masks({name: p.detach() != 0 for name, p in scope_of(model).prunable.items()})
    report = {"path": str(path), "format": kind, "sparsity": _of_weights(masks, model).sparsity}
    if kind == "onnx":
        content, report["largest_difference"] = _onnx(model, masks, example)
    elif kind == "safetensors":
        counted = _of_weights(masks, model)
        about = {"sparsity": counted.sparsity, "kept": counted.kept, "total": counted.total, "digest": masks.digest()}
        content = _safetensors(_state(model, masks), masks, {**(metadata or {}), **about})
    else:
        buffer = io.BytesIO()
        torch.save(_state(model, masks), buffer)
        content = buffer.getvalue()
    write_atomic(path, content)
    return {**report, "bytes": len(content)}


def load(path: str | Path) -> tuple[dict[str, Tensor], Masks, dict[str, Any]]:
    """Read a ``.safetensors`` file of ``export``: the ``state_dict``, the masks and the metadata.

    The metadata are those given to ``export`` and ``sparsity``, ``kept``, ``total`` and ``digest`` of the masks.

    Raises:
        UsageError: the file is missing, damaged or holds something else.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KIND, "null"))
            if header is not None:
                state = {name: file.get_tensor(name) for name in header["tensors"]}
                bits = {name: file.get_tensor(_MASK + name) for name in header["masks"]}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UsageError(f"the network at {path} cannot be read: {error}") from error
    if header is None:
        raise UsageError(f"{path} does not hold an exported network: its metadata has no {KIND!r}")
    masks = Masks({name: _unpacked(bits[name], shape) for name, shape in header["masks"].items()})
    if masks.digest() != header["metadata"]["digest"]:
        raise UsageError(f"{path} is damaged: its masks are not those it was written with; export the network again")
    return state, masks, header["metadata"]


def _of_weights(masks: Masks, model: nn.Module) -> Masks:
    """Without the biases and norm parameters that masks of units hold too."""
    prunable = scope_of(model).prunable
    return Masks({name: mask for name, mask in masks.items() if name in prunable})


def _state(model: nn.Module, masks: Masks) -> dict[str, Tensor]:
    """The dense ``state_dict`` on the CPU with pruned weights 0, no tensor sharing memory with another."""
    params = dict(model.named_parameters(remove_duplicate=False))
    for name, mask in masks.items():
        if name not in params or params[name].shape != mask.shape:
            got = tuple(params[name].shape) if name in params else "no such parameter"
            raise UsageError(
                f"mask {name!r} has shape {tuple(mask.shape)}, the model has {got}: these masks are of another network"
            )
    # A tied weight has several names and one mask.
    kept = {id(params[name]): mask.cpu() for name, mask in masks.items()}
    state = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        mask = kept.get(id(params.get(name)))
        state[name] = tensor if mask is None else tensor.masked_fill_(~mask, 0)
    return state


def _safetensors(state: dict[str, Tensor], masks: Masks, metadata: dict[str, Any]) -> bytes:
    header = {
        "tensors": list(state),
        "masks": {name: list(mask.shape) for name, mask in masks.items()},
        "metadata": metadata,
    }
    try:
        text = json.dumps(header)
    except TypeError as error:
        raise UsageError(f"metadata must be JSON (text, numbers, lists, mappings): {error}") from error
    packed = {_MASK + name: torch.from_numpy(np.packbits(mask.cpu().numpy())) for name, mask in masks.items()}
    # One metadata key: safetensors writes several in no fixed order, and equal networks shall be equal files.
    return save_safetensors({**state, **packed}, metadata={KIND: text})


def _unpacked(bits: Tensor, shape: list[int]) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=math.prod(shape)).astype(bool)).view(shape)


def _onnx(model: nn.Module, masks: Masks, example: Tensor | None) -> tuple[bytes, float]:
    """The graph and its largest difference to torch."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'sparsebench[export]'")
    if not isinstance(example, Tensor) or example.dim() < 2:
        raise UsageError("ONNX needs one batch of inputs: pass example=a tensor [B, ...]")
    net = deepcopy(model).cpu().eval()
    masks.apply(net)
    example = example.detach().cpu()
    # A batch of one would be taken for a constant.
    pair = torch.cat([example[:1], example[:1]])
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                net, (pair,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=["input"]
            )
            content = program.model_proto.SerializeToString()
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [""]
        raise SparsebenchError(
            f"{type(model).__name__} cannot be written as ONNX: {type(error).__name__}: {reason[0]}"
        ) from error
    return content, _difference(net, content, example)


def _difference(net: nn.Module, content: bytes, example: Tensor) -> float:
    """Largest difference between onnxruntime and torch on the example and on random inputs of other batch sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = [example]
    if example.is_floating_point():
        noise = torch.Generator().manual_seed(0)
        inputs += [torch.randn(b, *example.shape[1:], generator=noise).to(example.dtype) for b in (1, 3)]
    worst = 0.0
    for x in inputs:
        with torch.no_grad():
            expected = net(x)
        got = torch.from_numpy(session.run(None, {"input": x.contiguous().numpy()})[0])
        difference = float((got - expected).abs().max())
        # Not "greater than": NaN fails too.
        if got.shape != expected.shape or not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise SparsebenchError(f"the ONNX network differs from torch by {difference:.2g}: it was not written")
        worst = max(worst, difference)
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, logs and warnings to itself."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
