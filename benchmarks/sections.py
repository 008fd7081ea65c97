"""What `benchmarks.compare` measures of every engine, one function for each kind of work."""

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.environments import OURS
from benchmarks.media import media_rows
from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.rows import Measure, Row, absent, alternate, run
from benchmarks.servers import Server, answer, ask, served, servers
from benchmarks.shapes import full_size_config, tiny_config
from benchmarks.startup import startup_rows

NARROW = {"hidden_size": 256, "intermediate_size": 512, "sliding_window": 256, "max_position_embeddings": 1 << 17}
"""Small enough that overhead is most of the time."""

DEEP = NARROW | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 48}
MANY_HEADS = {
    **{"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 16, "num_key_value_heads": 8},
    **{"head_dim": 16, "global_head_dim": 32, "sliding_window": 1024},
}
"""As many heads as the 12B: what a prompt that is read in one piece costs is their scores."""

WIDE = {"hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 262144, "num_hidden_layers": 6}
POSITIONS = {"8k": 8192, "128k": 131072}
LOOK_WORDS = 3500
TURNS, TURN_WORDS, TURN_REPLY = 12, 60, 20
WORDS = ("little", "boat", "left", "harbour", "early", "nobody", "pier", "could", "say", "where", "glass", "water")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        folder: a checkpoint for loading, prompts and replies; None for a random narrow one.
        prompts: their lengths.
        reply: tokens of reply.
        rounds: how often everything is measured.
        tokenizer: a large tokenizer.json, for start-up.
        media: folder for generated files; None for a temporary one.
        command: how the comparison is called.
    """

    folder: Path | None
    prompts: tuple[int, ...]
    reply: int
    rounds: int
    tokenizer: Path | None
    media: Path | None
    command: str


Pythons = Mapping[str, str]


def load_rows(pythons: Pythons, options: Options) -> list[Row]:
    """From process start to weights in memory, and the part of it that is importing and loading."""

    def measure(engine: str, python: str, folder: Path) -> dict[str, float]:
        started = time.perf_counter()
        with served(python, engine, folder) as process:
            load = answer(process)["load"]
            return {"import and load": load, "start to loaded": time.perf_counter() - started}

    with checkpoint(options) as folder:
        measures: dict[str, Measure | str] = {
            engine: partial(measure, engine, python, folder) for engine, python in pythons.items()
        }
        units = {"import and load": "s", "start to loaded": "s"}
        return alternate("Loading", options.command, measures | absent(pythons), units, options.rounds)


def reply_rows(pythons: Pythons, options: Options) -> list[Row]:
    """Prompts and replies of text."""
    rows = []
    with checkpoint(options) as folder, servers(pythons, folder) as processes:
        for prompt in options.prompts:
            tests = {
                **{"prefill": f"prompt of {prompt:,} tokens", "decode": f"{options.reply} tokens behind {prompt:,}"},
                **{"caches": f"caches at {prompt:,}", "peak": f"peak memory at {prompt:,}"},
            }
            units = dict(zip(tests.values(), ("s", "s", "bytes", "bytes"), strict=True))
            measures = asked(processes, tests, "reply", prompt=prompt, reply=options.reply)
            rows += alternate("Text", options.command, measures | absent(pythons), units, options.rounds)
    return rows


def graph_rows(pythons: Pythons, options: Options) -> list[Row]:
    """A decode step of 48 layers: the graph that Python builds, and all of it."""
    tests = {"graph": "graph of a decode step, 48 layers", "step": "a decode step, 48 narrow layers"}
    with random_checkpoint(**DEEP) as folder, servers(pythons, folder) as processes:
        measures = asked(processes, tests, "graph", steps=40)
        units = dict.fromkeys(tests.values(), "ms")
        return alternate("Graph", options.command, measures | absent(pythons), units, options.rounds)


def look_rows(pythons: Pythons, options: Options) -> list[Row]:
    """A picture and 4k tokens of text, from the file to the first token. Each prompt has a process of its own."""
    tests = {"first": "picture and 4k of text: first token", "peak": "picture and 4k of text: peak memory"}
    tests |= {"resident": "picture and 4k of text: resident memory"}
    units = dict(zip(tests.values(), ("s", "bytes", "bytes"), strict=True))

    def measure(engine: str, python: str, folder: Path) -> dict[str, float]:
        with served(python, engine, folder) as process:
            answer(process)
            return renamed(ask(process, "look", text=text(LOOK_WORDS), picture=str(picture(folder))), tests)

    with random_checkpoint(**MANY_HEADS) as folder:
        measures: dict[str, Measure | str] = {
            engine: partial(measure, engine, python, folder) for engine, python in pythons.items()
        }
        return alternate("Picture", options.command, measures | absent(pythons), units, options.rounds)


def turn_rows(pythons: Pythons, options: Options) -> list[Row]:
    """Time to the first token of a conversation's turns, within the window (256) and past it."""
    rows = []
    for kind in ("text", "a picture in the first"):
        tests = {str(turn): f"turn {turn}, {kind}" for turn in (2, TURNS)}
        with random_checkpoint(**NARROW) as folder, servers(pythons, folder) as processes:
            shown = None if kind == "text" else str(picture(folder))
            measures: dict[str, Measure | str] = {
                engine: (shown and ENGINES[engine].lacks.get("look"))
                or (process if isinstance(process, str) else partial(converse, process, tests, shown))
                for engine, process in processes.items()
            }
            units = dict.fromkeys(tests.values(), "s")
            rows += alternate("Conversation", options.command, measures | absent(pythons), units, options.rounds)
    return rows


def converse(process: Server, tests: Mapping[str, str], shown: str | None) -> dict[str, float]:
    """A conversation from its start; what is in the history is the same for every engine."""
    messages: list[dict[str, str]] = []
    taken = {}
    for turn in range(1, TURNS + 1):
        messages.append({"role": "user", "content": text(TURN_WORDS, turn)})
        figures = ask(process, "turn", messages=messages, picture=shown, reply=TURN_REPLY)
        taken[str(turn)] = figures["first"]
        messages.append({"role": "assistant", "content": text(TURN_WORDS, -turn)})
    return renamed(taken, tests)


def cache_rows(pythons: Pythons, options: Options) -> list[Row]:
    """Bytes of caches at the 12B's shapes, without weights; counted, so once is enough."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        config = Path(temporary) / "config.json"
        config.write_text(json.dumps(full_size_config()), encoding="utf-8")
        here, everywhere, shortest = {OURS: 8}, dict.fromkeys(pythons, 8), {"8k": POSITIONS["8k"]}
        kinds = (("", {}, POSITIONS), (", here at 8 bits", here, POSITIONS), (", at 8 bits", everywhere, shortest))
        for note, bits, names in kinds:
            tests = {name: f"caches of {name} positions{note}" for name in names}
            if names is POSITIONS:
                tests["more"] = f"caches, each further position{note}"
            measures: dict[str, Measure | str] = {
                engine: partial(cache_sizes, engine, python, config, tests, bits.get(engine))
                for engine, python in pythons.items()
            }
            units = dict.fromkeys(tests.values(), "bytes")
            rows += alternate("Caches", options.command, measures | absent(pythons), units, 1)
    return rows


def cache_sizes(engine: str, python: str, config: Path, tests: Mapping[str, str], bits: int | None) -> dict[str, float]:
    """Bytes at each length, and what one more position takes once the windows are full."""
    sizes = {}
    for name in tests.keys() & POSITIONS.keys():
        asked_for = [] if bits is None else ["--kv-bits", str(bits)]
        command = [python, "-m", "benchmarks.cache_sizes", engine, config, str(POSITIONS[name]), *asked_for]
        sizes[name] = float(json.loads(run(command).splitlines()[-1])["bytes"])
    if "more" in tests:
        sizes["more"] = (sizes["128k"] - sizes["8k"]) / (POSITIONS["128k"] - POSITIONS["8k"])
    return renamed(sizes, tests)


def convert_rows(pythons: Pythons, options: Options) -> list[Row]:
    """A conversion to 4 bits: time, and the most memory that the process ever held."""
    tests = {"seconds": "2 GB to 4 bits", "resident": "2 GB to 4 bits: resident memory"}
    modules = {OURS: ["gemma4_mlx.convert"], "mlx-lm": ["mlx_lm", "convert"], "mlx-vlm": ["mlx_vlm.convert"]}

    def measure(python: str, module: list[str], folder: Path) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as scratch:
            command = [python, "-m", *module, "--hf-path", str(folder), "--mlx-path", f"{scratch}/out", "-q"]
            done = run([python, "-m", "benchmarks.resources", *command, "--q-bits", "4"])
        return renamed(json.loads(done.splitlines()[-1]), tests)

    with random_checkpoint(dtype="bfloat16", **WIDE) as folder:
        measures: dict[str, Measure | str] = {
            engine: partial(measure, python, modules[engine], folder) if engine in modules else "writes no MLX weights"
            for engine, python in pythons.items()
        }
        units = dict(zip(tests.values(), ("s", "bytes"), strict=True))
        return alternate("Conversion", options.command, measures | absent(pythons), units, options.rounds)


def start_rows(pythons: Pythons, options: Options) -> list[Row]:
    """See benchmarks.startup."""
    return startup_rows(pythons, options.tokenizer, options.rounds)


def file_rows(pythons: Pythons, options: Options) -> list[Row]:
    """See benchmarks.media."""
    with tempfile.TemporaryDirectory() as scratch:
        return media_rows(pythons, options.media or Path(scratch), options.rounds)


SECTIONS: dict[str, Callable[[Pythons, Options], list[Row]]] = {
    **{"caches": cache_rows, "graph": graph_rows, "turns": turn_rows, "media": file_rows, "start": start_rows},
    **{"picture": look_rows, "text": reply_rows, "load": load_rows, "convert": convert_rows},
}


def asked(
    processes: Mapping[str, Server | str], tests: Mapping[str, str], task: str, **request: Any
) -> dict[str, Measure | str]:
    """For each engine a measure that asks for a task and names the figures after tests, or why there is none."""

    def measure(process: Server) -> dict[str, float]:
        return renamed(ask(process, task, **request), tests)

    return {
        engine: process if isinstance(process, str) else partial(measure, process)
        for engine, process in processes.items()
    }


def renamed(figures: Mapping[str, float], tests: Mapping[str, str]) -> dict[str, float]:
    """Figures by test; those of no test are left out."""
    return {tests[name]: value for name, value in figures.items() if name in tests}


@contextmanager
def checkpoint(options: Options) -> Iterator[Path]:
    """The given one, or a random narrow one."""
    if options.folder is not None:
        yield options.folder
        return
    with random_checkpoint(**NARROW) as folder:
        yield folder


@contextmanager
def random_checkpoint(dtype: str = "float32", **sizes: Any) -> Iterator[Path]:
    """A random checkpoint that goes with the block."""
    with tempfile.TemporaryDirectory() as temporary:
        yield write_checkpoint(Path(temporary) / "random", tiny_config(**sizes), dtype=dtype)


def text(count: int, seed: int = 0) -> str:
    """Words that are one or two tokens each."""
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def picture(folder: Path) -> Path:
    """A picture of noise in a folder."""
    import numpy as np
    from PIL import Image

    path = folder / "picture.png"
    if not path.exists():
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (768, 768, 3), dtype=np.uint8)).save(path)
    return path
