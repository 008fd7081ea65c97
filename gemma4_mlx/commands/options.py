"""The options that generate and chat have in common, and what they come to."""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gemma4_mlx.commands.planning import add_memory_options, memory_options
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.errors import GemmaError, note

if TYPE_CHECKING:
    from gemma4_mlx.model.drafter import Drafter
    from gemma4_mlx.prompt.processor import MediaOptions

NANO_NOTICE = (
    "nano, the built-in demonstration model, answers: it knows simple shapes, digits, tones and sums. "
    "For Gemma 4 itself: --model mlx-community/gemma-4-12B-it-4bit"
)
DEFAULT_MODEL = "default: $GEMMA4_MODEL, gemma4-mlx use, else nano"
EIGHT_BITS = "plain caches would not fit: they are kept in 8 bits (--kv-bits none insists, --plan tells the sizes)"


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Adds what generate and chat have in common but for tools."""
    _add_model_options(parser)
    _add_media_options(parser)
    _add_reply_options(parser)
    add_memory_options(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds what names the checkpoint."""
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--model",
        help=f"folder, Hub or Kaggle name or address, or nano ({DEFAULT_MODEL})",
    )
    group.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    group.add_argument("--offline", action="store_true", help="use only what is downloaded already")
    group.add_argument("--adapter-path", help="folder with LoRA adapters")
    group.add_argument(
        "--chat-template-config", type=_template_variables, default={}, help="JSON object for the template"
    )


def _add_media_options(parser: argparse.ArgumentParser) -> None:
    """Adds what `media_options` reads."""
    group = parser.add_argument_group("reading media")
    group.add_argument(
        "--image-tokens", type=int, choices=(70, 140, 280, 560, 1120), help="detail of images; 1120 for text in them"
    )
    group.add_argument(
        "--fps", type=_fps, help="frames a second of video, thinned out to --max-frames (default: spread evenly)"
    )
    group.add_argument("--max-frames", type=_max_frames, help="at most this many frames of a video")
    group.add_argument("--no-soundtrack", action="store_true", help="watch videos without their sound")


def _add_reply_options(parser: argparse.ArgumentParser) -> None:
    """Adds what `reply_options` reads."""
    group = parser.add_argument_group("the reply (defaults: the checkpoint's generation_config.json)")
    group.add_argument("--max-tokens", "-m", type=int, help="longest reply (default: 1024)")
    group.add_argument("--temp", "--temperature", type=float, dest="temperature", help="0 takes the likeliest token")
    group.add_argument("--top-p", type=float)
    group.add_argument("--top-k", type=int)
    group.add_argument("--min-p", type=float)
    group.add_argument("--repetition-penalty", type=float)
    group.add_argument("--seed", type=int, help="makes sampling repeatable")
    group.add_argument("--stop", action="append", help="end the answer before this text; may be repeated")
    group.add_argument("--enable-thinking", action="store_true", help="let the model think first")
    group.add_argument("--thinking-budget", type=int, metavar="N", help="end the thought after N tokens")
    group.add_argument("--hide-thinking", action="store_true", help="do not show the thought on stderr")


def model_name(args: argparse.Namespace, terminal: Terminal) -> str:
    """The checkpoint that is asked for; where there is none, the built-in one, and a line about it."""
    from gemma4_mlx.commands.use import chosen, remember_use

    choice = chosen(args.model)
    if not choice.named_by:
        terminal.note(NANO_NOTICE)
    remember_use(choice.name, args.revision)
    return choice.name


@contextmanager
def choice_named(args: argparse.Namespace) -> Iterator[None]:
    """Name in errors about the model what chose it, if that was no option."""
    from gemma4_mlx.commands.use import chosen

    try:
        yield
    except GemmaError as error:
        named_by = chosen(args.model).named_by
        if not args.model and named_by:
            error.args = (f"{error}; this model was set by {named_by}: --model NAME takes another",)
        raise


def given_drafter(args: argparse.Namespace) -> "Drafter | None":
    """The drafter of --draft-model, its weights on disk until it is used. Raises GemmaError."""
    from gemma4_mlx import api

    return api.load_drafter(args.draft_model, offline=args.offline) if args.draft_model else None


def media_options(args: argparse.Namespace, own: "MediaOptions") -> "MediaOptions":
    """The checkpoint's media options with what the command line changes."""
    given = {"image_tokens": args.image_tokens, "fps": args.fps, "max_frames": args.max_frames}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(own, soundtrack=not args.no_soundtrack, **changes)


def reply_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the reply; None where it says nothing."""
    names = (
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "seed",
        "stop",
        "thinking_budget",
        "constrain_calls",
    )
    return {name: getattr(args, name) for name in names} | memory_options(args)


def note_options_without_effect(args: argparse.Namespace) -> None:
    """Say which options change nothing, and why. In a chat media and thinking may come later."""
    for reason, flags in _without_effect(args).items():
        for flag in flags:
            if _is_given(args, flag):
                note(f"{flag} has no effect {reason}")


def _without_effect(args: argparse.Namespace) -> dict[str, list[str]]:
    """Why options have no effect, and the flags of those."""
    asks_once = hasattr(args, "prefill_response")
    is_local = _is_local(args.model)
    rules = [
        ("without --video", not getattr(args, "video", True), ["--fps", "--max-frames", "--no-soundtrack"]),
        ("without --image", not getattr(args, "image", True), ["--image-tokens"]),
        ("without --mcp", args.mcp is None, ["--yes", "--no-constrain-calls"]),
        ("without --temp over 0", args.temperature == 0, ["--top-k", "--top-p", "--min-p", "--seed"]),
        ("without --kv-bits 8 or 4", args.kv_bits in (None, "none"), ["--kv-group-size"]),
        ("with --num-draft-tokens 0", args.num_draft_tokens == 0, ["--draft-model"]),
        ("without --enable-thinking", asks_once and not _may_think(args), ["--hide-thinking"]),
        ("with --json", asks_once and args.json and _may_think(args), ["--hide-thinking"]),
        ("if it is empty", args.stop is not None and "" in args.stop, ["--stop"]),
        ("without --plan", not asks_once and not args.plan, ["--json"]),
        ("with --plan", args.plan, ["--verbose"]),
        ("on a folder or nano", is_local, ["--revision"]),
        ("on a folder or nano", is_local and not args.draft_model, ["--offline"]),
    ]
    found: dict[str, list[str]] = {}
    for reason, holds, flags in rules:
        found.setdefault(reason, []).extend(flags if holds else [])
    return found


def _may_think(args: argparse.Namespace) -> bool:
    """Whether thoughts are asked for; a variable of the template may do so, too."""
    return args.enable_thinking or bool(args.chat_template_config)


def _is_local(model: str | None) -> bool:
    """Whether a model that is named needs no download whatever happens."""
    from gemma4_mlx.checkpoint.address import NANO

    return model is not None and (model == NANO or os.path.isdir(os.path.expanduser(model)))


def _is_given(args: argparse.Namespace, flag: str) -> bool:
    if flag == "--no-constrain-calls":
        return args.constrain_calls is False
    value = getattr(args, flag[2:].replace("-", "_"))
    return value is not None and value is not False


def _fps(text: str) -> float:
    with suppress(ValueError):
        if 1e-6 <= float(text) <= 1e6:
            return float(text)
    raise argparse.ArgumentTypeError(f"a number over 0, up to a million, is expected, not {text!r}")


def _max_frames(text: str) -> int:
    from gemma4_mlx.media.video import MOST_FRAMES

    with suppress(ValueError):
        if 1 <= int(text) <= MOST_FRAMES:
            return int(text)
    raise argparse.ArgumentTypeError(f"a whole number from 1 to {MOST_FRAMES} is expected, not {text!r}")


def _template_variables(text: str) -> Mapping[str, Any]:
    from gemma4_mlx.prompt.template import check_variables

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is expected")
    try:
        check_variables(value)
    except GemmaError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value
