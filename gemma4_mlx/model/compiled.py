"""Methods of modules, compiled once for all modules that are alike: weights are arguments, not part of the trace.

With the weights in it there would be a trace for each layer, too many to stay in a processor's caches, and kernels for
each layer too, as arrays of one number become literals in them.
"""

import copy
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn

Traces = dict[Hashable, Callable[..., Any]]
"""Compiled methods by what they are methods of."""


def compile_method(module: nn.Module, method: Callable[..., Any], traces: Traces) -> Callable[..., Any]:
    """`method`, compiled, for calls with this module and arrays.

    Modules with the same `traces` share what is compiled if only their arrays differ.
    """
    kind = (method, _settings(module))
    if kind not in traces:
        traces[kind] = mx.compile(partial(_run, _copy(module), method))
    return traces[kind]


def _run(module: nn.Module, method: Callable[..., Any], weights: dict[str, Any], *x: mx.array) -> Any:
    own = _copy(module)  # each thread traces for itself, and two may do so at once
    own.update(weights)
    return method(own, *x)


def _copy(module: nn.Module) -> nn.Module:
    """Other modules with the same arrays, which then can be replaced."""
    copied = copy.copy(module)
    for name, value in module.items():
        if isinstance(value, nn.Module):
            copied[name] = _copy(value)
        elif isinstance(value, list):
            copied[name] = [_copy(part) for part in value]
    return copied


def _settings(module: nn.Module) -> Hashable:
    """Types of a module and of those in it, and all that they hold in numbers and words."""
    return tuple(
        (name, type(part), *((key, value) for key, value in vars(part).items() if isinstance(value, int | float | str)))
        for name, part in module.named_modules()
    )
