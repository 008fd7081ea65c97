"""Gemma 4 12B Unified on Apple Silicon: text, images, audio and video in, text out.

from gemma4_mlx import load, generate

model, processor = load("mlx-community/gemma-4-12B-it-4bit")
print(generate(model, processor, "What is in this picture?", images=["photo.png"]))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemma4_mlx.agent import run_agent
    from gemma4_mlx.api import generate, load, load_drafter, plan, stream_generate
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.errors import GemmaError
    from gemma4_mlx.prompt.processor import MediaOptions

__version__ = "0.1.0"

__all__ = [
    "GemmaError",
    "GenerationOptions",
    "MediaOptions",
    "generate",
    "load",
    "load_drafter",
    "plan",
    "run_agent",
    "stream_generate",
]

_HOMES = {
    "GemmaError": "gemma4_mlx.errors",
    "GenerationOptions": "gemma4_mlx.engine.options",
    "MediaOptions": "gemma4_mlx.prompt.processor",
    "generate": "gemma4_mlx.api",
    "load": "gemma4_mlx.api",
    "load_drafter": "gemma4_mlx.api",
    "plan": "gemma4_mlx.api",
    "run_agent": "gemma4_mlx.agent",
    "stream_generate": "gemma4_mlx.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
