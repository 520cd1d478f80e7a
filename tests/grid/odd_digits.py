"""A method file that changes data and network: 399 test images, which two ranks cannot share evenly, and no kinks.

Behind a ReLU, rounding in another order turns a unit on or off now and then, and the gradient of that step changes by
per cents, whatever the number of processes; the network here has batch norm and a smooth activation.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

import sparsebench.data.module as module
from sparsebench.data.source import Resident
from sparsebench.registry import network

METHODS = [
    "snip@init",
    "fisher@init",
    "rigl",
    "set",
    "magnitude@gmp",
    "topkast",
    "sparsegpt@oneshot",
    "l1@finetune",
    "magnitude@imp(rate=0.5,rewind=0.5)",
    "magnitude@finetune+kd",
    "snip@init+reinit",
]
load = module.load


def without_one(*arguments, **options):
    source = load(*arguments, **options)
    return replace(source, test=Resident(source.test.images[:399], source.test.labels[:399]))


module.load = without_one


@network
def smooth(input_shape, classes):
    """Convolutions with batch norm and GELU."""
    first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU()]
    second = [nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.GELU()]
    return nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes))


network.add_file(Path(__file__))
