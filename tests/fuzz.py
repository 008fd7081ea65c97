"""A fuzz of everything that somebody else can send: nothing but the package's own errors may come of it.

python tests/fuzz.py [--seconds N] [--targets NAME,...] [--seed N]

Each target runs for its share of the time in a process of its own, which must neither crash nor take more than
MAX_MEMORY; what it can't digest is told with the traceback and the bytes that make it again (`--replay NAME HEX`).
"""

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from gemma4_mlx.errors import LOGGER, GemmaError  # noqa: E402

MAX_MEMORY = 500 * 10**6  # bytes, above what the process takes before its first input
MAX_SECONDS = 10.0  # of work for one input
INPUT_BYTES = (64, 512, 4096)

Target = Callable[..., None]
TARGETS: dict[str, Target] = {}

words = st.sampled_from(
    [
        "",
        "a",
        "tool",
        "<bos>",
        "<|turn>",
        "<|channel>",
        "\x00",
        "\ud800",
        "\u202e",
        "{{",
        "{% x %}",
        "9" * 400,
        "a" * 3000,
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([2**31, 2**63, -(2**40), 10**40, 1e308, float("nan"), float("inf"), 0.5, 64.0])
    | words
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def target(*strategies: st.SearchStrategy[Any]) -> Callable[[Target], Target]:
    """Register a function that takes one drawn value of each strategy."""

    def register(function: Target) -> Target:
        test = given(*strategies)(function)
        test = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))(
            test
        )
        TARGETS[function.__name__] = test
        return test

    return register


@cache
def folder() -> Path:
    """A tiny checkpoint, kept until the process ends."""
    from benchmarks.random_checkpoint import write_checkpoint
    from benchmarks.shapes import tiny_config

    home = tempfile.TemporaryDirectory()
    checkpoint = write_checkpoint(Path(home.name) / "tiny", tiny_config())
    checkpoint_homes.append(home)
    return checkpoint


checkpoint_homes: list[tempfile.TemporaryDirectory[str]] = []


@cache
def model_and_processor() -> tuple[Any, Any]:
    from gemma4_mlx.api import load

    return load(folder())


@st.composite
def changed_file(draw: st.DrawFn, name: str) -> str:
    """A JSON file of the checkpoint with some entries changed, gone, or of another kind."""
    content = json.loads((folder() / name).read_text())
    for _ in range(draw(st.integers(1, 4))):
        table = content
        while True:
            keys = list(table)
            key = draw(st.sampled_from(keys)) if keys else "x"
            inner = table.get(key)
            if not isinstance(inner, dict) or not inner or draw(st.integers(0, 3)) == 0:
                break
            table = inner
        if draw(st.integers(0, 3)) == 0:
            table.pop(key, None)
        else:
            table[draw(st.just(key) | words)] = draw(values)
    return json.dumps(content)


def loads_or_is_refused(name: str, text: str) -> None:
    """A checkpoint with this file in the place of its own loads and answers, or is refused."""
    from gemma4_mlx.api import generate, load

    with tempfile.TemporaryDirectory() as home:
        copy = Path(home)
        for path in folder().iterdir():
            (copy / path.name).symlink_to(path)
        (copy / name).unlink()
        (copy / name).write_text(text, encoding="utf-8", errors="surrogatepass")
        with suppress(GemmaError):
            model, processor = load(copy)
            generate(model, processor, "Hello", max_tokens=2)


@target(changed_file("config.json"))
def config(text: str) -> None:
    loads_or_is_refused("config.json", text)


@target(
    st.sampled_from(["generation_config.json", "processor_config.json", "tokenizer_config.json"]).flatmap(
        lambda name: st.tuples(st.just(name), changed_file(name))
    )
)
def settings_files(changed: tuple[str, str]) -> None:
    loads_or_is_refused(*changed)


@cache
def session_bytes() -> bytes:
    from gemma4_mlx.api import generate
    from gemma4_mlx.engine import session_file
    from gemma4_mlx.engine.session import Session

    model, processor = model_and_processor()
    session = Session(model)
    generate(model, processor, "Hello", max_tokens=3, session=session)
    with tempfile.TemporaryDirectory() as home:
        session_file.save(session, Path(home) / "session.safetensors")
        return (Path(home) / "session.safetensors").read_bytes()


def with_checksum(header: dict[str, Any], data: bytes) -> bytes:
    """A session file whose checksum is right, whatever is in it."""
    from gemma4_mlx.engine.session_file import NO_CHECKSUM

    header["__metadata__"]["checksum"] = NO_CHECKSUM
    text = json.dumps(header).encode()
    length = len(text).to_bytes(8, "little")
    checksum = hashlib.sha256(length + text + data).hexdigest()
    return length + text.replace(NO_CHECKSUM.encode(), checksum.encode(), 1) + data


@target(st.data())
def sessions(data: st.DataObject) -> None:
    from gemma4_mlx.api import generate
    from gemma4_mlx.engine import session_file

    whole = session_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, rows = json.loads(whole[8 : 8 + length]), bytearray(whole[8 + length :])
    state = json.loads(header["__metadata__"]["state"])
    for _ in range(data.draw(st.integers(0, 3))):
        state[data.draw(st.sampled_from([*state, "x"]))] = data.draw(values)
    header["__metadata__"]["state"] = json.dumps(state)
    for _ in range(data.draw(st.integers(0, 3))):
        name = data.draw(st.sampled_from([*header, "x"]))
        entry = header.get(name)
        if isinstance(entry, dict) and entry:
            entry[data.draw(st.sampled_from(list(entry)))] = data.draw(values)
        else:
            header[name] = data.draw(values)
    for _ in range(data.draw(st.integers(0, 3))):
        rows[data.draw(st.integers(0, len(rows) - 1))] = data.draw(st.integers(0, 255))
    if not isinstance(header.get("__metadata__"), dict):
        return
    with tempfile.TemporaryDirectory() as home, suppress(GemmaError):
        path = Path(home) / "session.safetensors"
        path.write_bytes(with_checksum(header, bytes(rows)))
        model, processor = model_and_processor()
        session = session_file.load(model, path)
        generate(model, processor, "Hello", max_tokens=2, session=session)


FRAGMENTS = [
    "call:",
    "f",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "a",
    '"',
    "thought\n",
    "1",
    "-",
    ".5",
    " ",
    "\n",
    "(",
    ")",
    "=",
]
TOOL = {"name": "f", "parameters": {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}}


@target(st.data())
def replies(data: st.DataObject) -> None:
    from gemma4_mlx.prompt.reply import ReplyParser
    from gemma4_mlx.prompt.tools import read_tool

    tokenizer = model_and_processor()[1].tokenizer
    control = sorted(tokenizer.control_ids.values())
    ids: list[int] = []
    for _ in range(data.draw(st.integers(0, 60))):
        piece = data.draw(st.sampled_from(control) | st.sampled_from(FRAGMENTS) | st.text(max_size=3))
        ids += [piece] if isinstance(piece, int) else tokenizer.encode(piece)
    parser = ReplyParser(
        tokenizer, [2], (1,), data.draw(st.lists(st.text(min_size=1, max_size=3), max_size=2)), [read_tool(TOOL)]
    )
    with suppress(GemmaError):
        for id in ids:
            parser.feed(id)
        parser.finish()


KEYWORDS = [
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "$ref",
    "$defs",
    "if",
    "then",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "description",
    "title",
    "default",
    "nullable",
]
schema_words = st.sampled_from(
    [
        "object",
        "string",
        "integer",
        "number",
        "array",
        "boolean",
        "null",
        "#",
        "#/$defs/a",
        "^a+$",
        "(a",
        "date-time",
        "\\p{L}",
    ]
)
schemas_drawn = st.recursive(
    scalars | schema_words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=5),
    max_leaves=20,
)


@target(schemas_drawn, values)
def tools(schema: Any, arguments: Any) -> None:
    from gemma4_mlx.engine.call_grammar import CallMarks, call_grammar
    from gemma4_mlx.prompt.tools import read_tool

    with suppress(GemmaError):
        tool = read_tool({"name": "f", "description": "", "parameters": schema})
        model_and_processor()[1].prompt([{"role": "user", "content": "Hello"}], tools=[tool.declaration()])
        call_grammar([tool], CallMarks(1, 2, 3))
        tool.check(arguments if isinstance(arguments, dict) else {})


@target(schemas_drawn)
def schemas(schema: Any) -> None:
    from gemma4_mlx.engine.schema import compile_schema

    with suppress(GemmaError):
        compile_schema(schema)


EXPRESSIONS = [
    "messages",
    "messages[0].content",
    "tools",
    "x",
    "1",
    "'a'",
    "range(9)",
    "range(10**9)",
    "'a' * 10**10",
    "2**99999",
    "'%99999999s' % 'a'",
    "messages|tojson",
    "'a'.center(10**9)",
    "['a'] * 10**9",
    "''.__class__",
    "lipsum(99999)",
    "'a'|center(10**9)",
    "'a b'|urlize",
    "'a'|indent(10**9)",
    "raise_exception('no')",
    "strftime_now('%Y')",
    "cycler",
    "[1]|batch(10**9)|list",
    "'a'.replace('a', 'aaaaaaaaaa')",
    "namespace(a=1).a",
    "'{:>9999999}'.format(1)",
]
BLOCKS = [
    "{{{{ {0} }}}}",
    "{{% for m in {0} %}}a{{% endfor %}}",
    "{{% set x = {0} %}}",
    "{{% if {0} %}}b{{% endif %}}",
    "{{% macro m() %}}{{{{ m() }}}}{{% endmacro %}}{{{{ m() }}}}",
    "{{% generation %}}{{{{ {0} }}}}{{% endgeneration %}}",
    "{{% for a in range(99) %}}{{% for b in range(999) %}}{{{{ {0} }}}}{{% endfor %}}{{% endfor %}}",
    "{{% include {0} %}}",
]


@target(st.lists(st.tuples(st.sampled_from(BLOCKS), st.sampled_from(EXPRESSIONS)), max_size=4), st.text(max_size=5))
def templates(blocks: list[tuple[str, str]], text: str) -> None:
    from gemma4_mlx.prompt.template import ChatTemplate

    source = "".join(block.format(expression) for block, expression in blocks) + text
    with suppress(GemmaError):
        ChatTemplate(source).render([{"role": "user", "content": "Hello"}], bos_token="<bos>")


KEYS = [
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "name",
    "type",
    "text",
    "image",
    "audio",
    "function",
    "arguments",
]
ROLES = ["system", "developer", "user", "assistant", "tool", "model", "other"]
message_values = st.recursive(
    scalars | st.sampled_from(["text", "image", "function", "data:,", "data:image/png;base64,AAAA", "<|image|>", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
messages_drawn = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(ROLES) | scalars, "content": message_values},
        optional={"tool_calls": message_values, "tool_call_id": message_values, "name": message_values},
    )
    | message_values,
    max_size=5,
)


@target(messages_drawn)
def messages(given_messages: list[Any]) -> None:
    with suppress(GemmaError):
        model_and_processor()[1].prompt(given_messages)


def run_target(name: str, seconds: float, seed: int) -> None:
    """Feed random bytes to a target until the time is over; the process ends with 1 at the first failure."""
    chance, deadline, rounds = random.Random(seed), time.monotonic() + seconds, 0
    feed = TARGETS[name].hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    with suppress(GemmaError):
        feed(bytes(64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.monotonic() < deadline:
        drawn = chance.randbytes(chance.choice(INPUT_BYTES))
        started, rounds = time.process_time(), rounds + 1
        fail_if(not digests(feed, drawn), name, drawn, "an exception that is none of the package's own")
        taken = time.process_time() - started  # without the compiler, which kernels of new shapes start
        fail_if(taken > MAX_SECONDS, name, drawn, f"{taken:.1f} s of work")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (
            1 if sys.platform == "darwin" else 1024
        )
        fail_if(grown > MAX_MEMORY, name, drawn, f"{grown / 1e6:.0f} MB")
    print(f"{name}: {rounds} inputs", flush=True)


def digests(feed: Callable[[bytes], object], drawn: bytes) -> bool:
    """Whether a target takes these bytes; the traceback is printed if it does not."""
    try:
        feed(drawn)
    except BaseException:
        traceback.print_exc()
        return False
    return True


def fail_if(wrong: bool, name: str, drawn: bytes, what: str) -> None:
    """End with what makes it again."""
    if wrong:
        print(f"{name} fails: {what}\nagain: python tests/fuzz.py --replay {name} {drawn.hex()}", flush=True)
        sys.exit(1)


def main() -> int:
    """Run all targets, each in a process of its own; the exit code is 1 if one failed."""
    parser = argparse.ArgumentParser(description="Fuzz what somebody else can send.")
    parser.add_argument("--seconds", type=float, default=60, help="of all targets together")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--seed", type=int, default=None, help="of the random inputs (default: another each time)")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "HEX"), help="one input again")
    parser.add_argument("--worker", choices=TARGETS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    LOGGER.setLevel("ERROR")  # notes are no failures
    if args.replay:
        TARGETS[args.replay[0]].hypothesis.fuzz_one_input(bytes.fromhex(args.replay[1]))  # type: ignore[attr-defined]
        return 0
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(2**32)
    if args.worker:
        run_target(args.worker, args.seconds, seed)
        return 0
    names, failed = args.targets.split(","), []
    for name in names:
        command = [sys.executable, __file__, "--worker", name, "--seed", str(seed)]
        done = subprocess.run([*command, "--seconds", str(args.seconds / len(names))], check=False)
        failed += [name] * (done.returncode != 0)
        if done.returncode < 0:
            print(f"{name} crashed with signal {-done.returncode}; --seed {seed} does it again", flush=True)
    print(f"{len(names)} targets, {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
