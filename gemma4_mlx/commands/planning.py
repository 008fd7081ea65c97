"""The options that decide about memory and speed, and the table of `--plan`."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gemma4_mlx.commands.common import with_flags
from gemma4_mlx.commands.reply import json_text
from gemma4_mlx.errors import DoesNotFitError

if TYPE_CHECKING:
    from gemma4_mlx.engine.plan import Need, Plan

_NAMES = ("kv_bits", "kv_group_size", "max_kv_size", "prefill_step_size", "memory_limit", "num_draft_tokens", "wire")


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `memory_options` reads, and --plan."""
    group = parser.add_argument_group("memory and speed")
    group.add_argument(
        "--kv-bits", type=_kv_bits, help="8, 4 or none for the caches of long context (default: none, or 8 to fit)"
    )
    group.add_argument("--kv-group-size", type=int, choices=(32, 64, 128), help="cached numbers that share a scale")
    group.add_argument("--max-kv-size", type=int, help="at most this many positions for prompt and reply together")
    group.add_argument("--prefill-step-size", type=int, help="tokens of prompt read at once (default: 512)")
    group.add_argument("--memory-limit", metavar="16GB", help="keep to what a Mac with this memory may use")
    group.add_argument(
        "--no-wire",
        dest="wire",
        action="store_const",
        const=False,
        help="on a Mac, let macOS swap memory at any time",
    )
    group.add_argument("--plan", action="store_true", help="print what would be needed, load nothing")
    group.add_argument(
        "--draft-model", help="folder or repository of a drafter (google/gemma-4-12B-it-assistant), or nano"
    )
    group.add_argument(
        "--num-draft-tokens", type=_draft_tokens, help="tokens guessed ahead: auto (what pays off), 0 for none, to 15"
    )


def memory_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of them; None where it says nothing."""
    return {name: getattr(args, name) for name in _NAMES}


def show_plan(need: "Need", plan: "Plan", *, as_json: bool = False) -> int:
    """Prints the table on stdout, or a JSON object, and what would fit if this does not; returns the exit code."""
    from gemma4_mlx.engine.plan import GB, alternatives

    if as_json:
        print(json_text(plan_as_dict(need, plan)))
        return 0 if plan.fits else DoesNotFitError.exit_code
    rows = plan.rows()
    width = max(len(name) for name, _ in rows)
    for name, size in rows:
        print(f"{name:<{width}}  {size / GB:8.3f} GB")
    if plan.fits:
        print("fits")
        return 0
    print(f"does not fit: {with_flags('; '.join(alternatives(need, plan)), ['kv_bits'])}")
    return DoesNotFitError.exit_code


def plan_as_dict(need: "Need", plan: "Plan") -> dict[str, Any]:
    """A plan for machines: sizes in bytes, whether it fits, and in words what would if it does not."""
    from gemma4_mlx.engine.plan import alternatives

    suggestions = [] if plan.fits else [with_flags(text, ["kv_bits"]) for text in alternatives(need, plan)]
    return asdict(plan) | {"total": plan.total, "fits": plan.fits, "suggestions": suggestions}


def _kv_bits(text: str) -> int | str:
    if text not in ("none", "8", "4"):
        raise argparse.ArgumentTypeError("8, 4 or none is expected")
    return text if text == "none" else int(text)


def _draft_tokens(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("auto or a number is expected") from None
