"""`python -m gemma4_mlx.generate`: one question, one answer on stdout; everything else goes to stderr."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.commands.common import EXIT_INTERRUPTED, add_debug, run
from gemma4_mlx.commands.planning import add_memory_options, memory_options, show_plan
from gemma4_mlx.commands.prompt_cache import open_session, save_session
from gemma4_mlx.commands.reply import Reply
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.errors import GemmaError, UsageError

if TYPE_CHECKING:
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.session import Session
    from gemma4_mlx.model.unified import Gemma4Unified
    from gemma4_mlx.prompt.processor import MediaOptions, Processor
    from gemma4_mlx.prompt.prompt import Prompt

STDIN = "-"
NANO_NOTICE = (
    "nano, the built-in demonstration model, answers: it knows simple shapes, digits, tones and sums. "
    "For Gemma 4 itself: --model mlx-community/gemma-4-12B-it-4bit"
)
EIGHT_BITS = "plain caches would not fit: they are kept in 8 bits (--kv-bits none insists, --plan tells the sizes)"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run(answer, make_parser(), argv)


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="gemma4_mlx.generate", description="Ask Gemma 4 12B Unified about text, images, audio and video."
    )
    ask = parser.add_argument_group("what to ask")
    ask.add_argument("--prompt", "-p", default=None, help='the question; "-" reads it from standard input')
    ask.add_argument("--system", help="instructions for the model")
    ask.add_argument("--image", action="append", default=[], help="path, URL or - (stdin); may be repeated")
    ask.add_argument("--audio", action="append", default=[], help="path, URL or - (stdin); may be repeated")
    ask.add_argument("--video", action="append", default=[], help="path, URL or - (stdin); may be repeated")
    ask.add_argument("--prefill-response", default="", help="how the answer begins")
    ask.add_argument("--prompt-cache-file", help="go on from what this file holds, and keep prompt and reply in it")
    add_model_options(parser)
    add_media_options(parser)
    add_reply_options(parser)
    add_memory_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON object instead of streaming the answer")
    output.add_argument("--verbose", action="store_true", help="also print timings")
    add_debug(output)
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds what names the checkpoint."""
    group = parser.add_argument_group("the model")
    group.add_argument("--model", help="folder, Hub repository or nano (default: $GEMMA4_MODEL, else nano)")
    group.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    group.add_argument("--offline", action="store_true", help="use only what is downloaded already")
    group.add_argument("--adapter-path", help="folder with LoRA adapters")
    group.add_argument("--chat-template-config", type=_json_object, default={}, help="JSON object for the template")


def add_media_options(parser: argparse.ArgumentParser) -> None:
    """Adds what `media_options` reads."""
    group = parser.add_argument_group("reading media")
    group.add_argument(
        "--image-tokens", type=int, choices=(70, 140, 280, 560, 1120), help="detail of images; 1120 for text in them"
    )
    group.add_argument("--fps", type=float, help="frames a second of video (default: spread evenly)")
    group.add_argument("--max-frames", type=int, help="at most this many frames of a video")
    group.add_argument("--no-soundtrack", action="store_true", help="watch videos without their sound")


def add_reply_options(parser: argparse.ArgumentParser) -> None:
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
    group.add_argument("--hide-thinking", action="store_true", help="do not show the thought on stderr")


def answer(args: argparse.Namespace) -> int:
    """Loads, asks, prints. Ctrl-C keeps what was said."""
    started = time.perf_counter()
    check_usage(args)
    read_stdin(args)
    terminal = Terminal(show_thought=not args.hide_thinking and not args.json)
    model, processor, asked = prepare(args, terminal)
    if args.plan:
        return plan(args, terminal, model, processor, asked)
    session = None
    if args.prompt_cache_file is not None:
        session = open_session(args.prompt_cache_file, model, *prompt_and_options(args, processor, asked))
    said = speak(args, terminal, model, processor, asked, session)
    if args.json:
        print(json.dumps(said.as_dict(), ensure_ascii=False))
    if said.last is not None:
        times = {"First token": f"{said.first_token - started:.2f} s"}
        terminal.report(said.report() | (times if args.verbose else {}))
    if session is not None:
        save_session(session, args.prompt_cache_file)
    return EXIT_INTERRUPTED if said.finish_reason == "interrupted" else 0


def prepare(
    args: argparse.Namespace, terminal: Terminal
) -> tuple["Gemma4Unified", "Processor", Sequence[Mapping[str, Any]]]:
    """The model, its processor, and the conversation with its media decoded.

    Media come before the weights, so that a wrong file fails at once.
    """
    from gemma4_mlx import api
    from gemma4_mlx.checkpoint.hub import resolve
    from gemma4_mlx.prompt.processor import MediaOptions

    folder = resolve(model_name(args, terminal), revision=args.revision, offline=args.offline)
    terminal.status("reading media")
    asked = messages(args, media_options(args, MediaOptions.from_folder(folder)))
    terminal.status("loading the model")
    model, processor = api.load(folder, adapter_path=args.adapter_path, lazy=True)
    return model, processor, asked


def model_name(args: argparse.Namespace, terminal: Terminal) -> str:
    """The checkpoint that is asked for; where there is none, the built-in one, and a line about it."""
    from gemma4_mlx.checkpoint.hub import NANO

    name = args.model or os.environ.get("GEMMA4_MODEL")
    if not name:
        terminal.note(NANO_NOTICE)
    return name or NANO


def plan(
    args: argparse.Namespace,
    terminal: Terminal,
    model: "Gemma4Unified",
    processor: "Processor",
    asked: Sequence[Mapping[str, Any]],
) -> int:
    """Prints what the reply would need; the weights stay on disk."""
    from gemma4_mlx.engine.generation import check_length, memory_need
    from gemma4_mlx.engine.session import Session

    prompt, options = prompt_and_options(args, processor, asked)
    need = memory_need(model, prompt, options, Session(model) if args.prompt_cache_file else None)
    terminal.clear()
    return show_plan(need, need.choose(check_length(model, prompt, options), options.kv_bits))


def prompt_and_options(
    args: argparse.Namespace, processor: "Processor", asked: Sequence[Mapping[str, Any]]
) -> tuple["Prompt", "GenerationOptions"]:
    """What the model is to read, and how it is to reply."""
    from gemma4_mlx.engine.options import GenerationOptions

    options = GenerationOptions.from_config(processor.generation_config, **reply_options(args))
    return processor.prompt(asked, **prompt_options(args)), options


def speak(
    args: argparse.Namespace,
    terminal: Terminal,
    model: "Gemma4Unified",
    processor: "Processor",
    asked: Sequence[Mapping[str, Any]],
    session: "Session | None",
) -> Reply:
    """Streams the reply to the terminal; Ctrl-C ends it where it is."""
    from gemma4_mlx import api

    terminal.status("reading the prompt")
    drafter = api.load_drafter(args.draft_model, offline=args.offline) if args.draft_model else None
    said = Reply()
    try:
        for response in api.stream_generate(
            model,
            processor,
            asked,
            **prompt_options(args),
            session=session,
            drafter=drafter,
            progress=terminal.progress,
            **reply_options(args),
        ):
            if said.last is None and response.kv_bits is not None and args.kv_bits is None:
                terminal.note(EIGHT_BITS)
            said.add(response)
            if not args.json:
                terminal.show(response)
    except KeyboardInterrupt:
        said.finish_reason = "interrupted"
    terminal.end()
    return said


def check_usage(args: argparse.Namespace) -> None:
    """Raises UsageError for what can be told before anything is loaded."""
    if args.prompt is None:
        raise UsageError("no prompt: give --prompt TEXT, or --prompt - to read it from standard input")
    if [args.prompt, *args.image, *args.audio, *args.video].count(STDIN) > 1:
        raise UsageError("standard input can be read once: only one option may be -")
    if args.prompt_cache_file is not None and not Path(args.prompt_cache_file).expanduser().parent.is_dir():
        raise UsageError(f"--prompt-cache-file {args.prompt_cache_file}: there is no such folder; make it first")
    from gemma4_mlx.engine.options import GenerationOptions

    GenerationOptions(**{name: value for name, value in reply_options(args).items() if value is not None})


def read_stdin(args: argparse.Namespace) -> None:
    """Puts standard input where an option says -: text for the prompt, bytes for media."""
    if args.prompt == STDIN:
        try:
            args.prompt = sys.stdin.buffer.read().decode().strip()
        except UnicodeDecodeError:
            raise GemmaError(
                "standard input is not UTF-8 text; media go to --image -, --audio - or --video -"
            ) from None
    for sources in (args.image, args.audio, args.video):
        if STDIN in sources:
            sources[sources.index(STDIN)] = sys.stdin.buffer


def media_options(args: argparse.Namespace, own: "MediaOptions") -> "MediaOptions":
    """The checkpoint's media options with what the command line changes."""
    given = {"image_tokens": args.image_tokens, "fps": args.fps, "max_frames": args.max_frames}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(own, soundtrack=not args.no_soundtrack, **changes)


def prompt_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the prompt."""
    return {
        "enable_thinking": args.enable_thinking,
        "prefill_response": args.prefill_response,
        "template_variables": args.chat_template_config,
    }


def reply_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the reply; None where it says nothing."""
    names = ("max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop")
    return {name: getattr(args, name) for name in names} | memory_options(args)


def messages(args: argparse.Namespace, media: "MediaOptions") -> list[dict[str, Any]]:
    """The conversation: pictures and films before the question, sounds after it, as the model was trained."""
    from gemma4_mlx.api import user_message
    from gemma4_mlx.prompt.messages import MediaPart
    from gemma4_mlx.prompt.processor import load_part, read_video

    images = [load_part(MediaPart("image", source), media) for source in args.image]
    videos = [read_video(source, media) for source in args.video]
    audio = [load_part(MediaPart("audio", source), media) for source in args.audio]
    soundtracks = [video.soundtrack for video in videos if video.soundtrack]
    silent = [replace(video, soundtrack=[]) for video in videos]
    system = [{"role": "system", "content": args.system}] if args.system else []
    return [*system, user_message(args.prompt, images, [*soundtracks, *audio], silent)]


def _json_object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is expected")
    return value
