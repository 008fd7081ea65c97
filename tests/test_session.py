"""What a session answers is what reading everything anew would answer, and it reads little."""

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_decode import decode

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.shapes import tiny_config
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.engine.drafts import PromptLookup
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.session import Session
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.prompt import Prompt, Span

TOLERANCE = 1e-4
CHUNK = 11
WINDOWS = {"window of 16": 16, "narrow window": 5}
LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
WORDS = "nobody on the pier could say where the little boat was going "


@pytest.fixture(scope="module", params=WINDOWS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gemma4Unified:
    folder = tmp_path_factory.mktemp("session") / "checkpoint"
    return load_model(write_checkpoint(folder, tiny_config(sliding_window=WINDOWS[request.param], layer_types=LAYERS)))


@pytest.fixture
def read_lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of all that models embed while they read prompts."""
    lengths: list[int] = []
    original = Gemma4Unified.embed

    def embed(self: Gemma4Unified, ids: Any, *rest: Any) -> mx.array:
        lengths.append(len(ids))
        return original(self, ids, *rest)

    monkeypatch.setattr(Gemma4Unified, "embed", embed)
    return lengths


def fresh(model: Gemma4Unified, prompt: Prompt, **kv: int) -> np.ndarray:
    return np.array(prefill(model, prompt, model.make_caches(len(prompt.ids), **kv), CHUNK)[0])


def read(session: Session, prompt: Prompt, room: int = 40) -> np.ndarray:
    return np.array(session.read(prompt, len(prompt.ids) + room, CHUNK)[0])


def reply(session: Session, prompt: Prompt, count: int, stop: tuple[int, ...] = ()) -> list[int]:
    """Reads a prompt and answers greedily."""
    logits = session.read(prompt, len(prompt.ids) + count, CHUNK)
    tokens = decode(session.model, session.caches, logits, lambda x: mx.argmax(x, axis=-1), count, stop)
    return list(session.follow(tokens))


def picture(seed: int) -> Patches:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6912)).astype(np.uint8)
    return Patches(pixels, np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.int32))


def sound(seed: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(0, 0.1, (6, 640)).astype(np.float32)]


def user(text: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def conversation(turns: int) -> list[dict[str, Any]]:
    """User and model in turn, a picture and a sound early on."""
    first = user("What is this?", {"type": "image", "image": picture(1)}, {"type": "audio", "audio": sound(1)})
    later = [message for turn in range(turns) for message in (assistant(f"{WORDS}{turn}"), user(f"{turn} {WORDS}"))]
    return [first, *later]


@pytest.mark.parametrize("kv", [{}, {"kv_bits": 8, "kv_group_size": 32}], ids=["plain", "8 bits"])
@pytest.mark.parametrize("thinking", [False, True])
def test_every_turn_has_the_logits_of_a_fresh_reading(
    model: Gemma4Unified, processor: Processor, thinking: bool, kv: dict[str, int]
) -> None:
    session, messages = Session(model, **kv), conversation(5)
    for turn in range(1, len(messages) + 1, 2):
        prompt = processor.prompt(messages[:turn], enable_thinking=thinking)
        tolerance = 0.05 if kv else TOLERANCE
        np.testing.assert_allclose(read(session, prompt), fresh(model, prompt, **kv), atol=tolerance)
        list(session.follow(decode(model, session.caches, mx.zeros((1, 768)), lambda _: mx.array([400]), 30)))


def test_a_turn_reads_the_last_reply_and_the_new_question_only(
    model: Gemma4Unified, processor: Processor, read_lengths: list[int]
) -> None:
    session, messages = Session(model), conversation(5)
    boundary = 0
    for turn in range(1, len(messages) + 1, 2):
        prompt = processor.prompt(messages[:turn])
        read_lengths.clear()
        reply(session, prompt, 90)
        assert sum(read_lengths) == len(prompt.ids) - boundary
        assert session.reused == boundary
        assert prompt.ids[prompt.turns[-1]] == processor.tokenizer.id("<|turn>")
        boundary = prompt.turns[-1]


@pytest.mark.parametrize("count", [3, 90])
def test_a_retry_reads_no_more_than_the_turns_beginning(
    model: Gemma4Unified, processor: Processor, read_lengths: list[int], count: int
) -> None:
    prompt, session = processor.prompt(conversation(3)), Session(model)
    said = reply(session, prompt, count)
    read_lengths.clear()
    assert reply(session, prompt, count) == said
    assert sum(read_lengths) == (1 if count == 3 else len(prompt.ids) - prompt.turns[-1])


def test_a_question_in_other_words_is_all_that_is_read(
    model: Gemma4Unified, processor: Processor, read_lengths: list[int]
) -> None:
    messages, session = conversation(3), Session(model)
    first = processor.prompt(messages)
    reply(session, first, 90)
    second = processor.prompt([*messages[:-1], user("something else entirely")])
    read_lengths.clear()
    got = read(session, second)
    assert sum(read_lengths) == len(second.ids) - first.turns[-2]
    np.testing.assert_allclose(got, fresh(model, second), atol=TOLERANCE)


def test_a_reply_read_as_history_while_nobody_waits_leaves_the_question_only(
    model: Gemma4Unified, processor: Processor, read_lengths: list[int]
) -> None:
    messages, session = conversation(3), Session(model)
    reply(session, processor.prompt(messages), 90)
    messages.append(assistant(WORDS * 5))
    history = processor.prompt(messages, template_variables={"add_generation_prompt": False})
    read(session, history)
    for question in (WORDS * 5, "something else entirely"):
        prompt = processor.prompt([*messages, user(question)])
        read_lengths.clear()
        got = read(session, prompt)
        assert sum(read_lengths) == len(prompt.ids) - len(history.ids)
        np.testing.assert_allclose(got, fresh(model, prompt), atol=TOLERANCE)


def test_thoughts_that_history_drops_are_not_in_the_caches(model: Gemma4Unified, processor: Processor) -> None:
    messages, session = conversation(2), Session(model)
    first = processor.prompt(messages, enable_thinking=True)
    start, end = processor.tokenizer.id("<|channel>"), processor.tokenizer.id("<channel|>")
    thought = iter([start, *range(300, 388), end, 400, 401])
    logits = session.read(first, len(first.ids) + 92, CHUNK)
    list(session.follow(decode(model, session.caches, logits, lambda _: mx.array([next(thought)]), 92)))
    second = processor.prompt([*messages, assistant("so it is"), user("and now?")], enable_thinking=True)
    np.testing.assert_allclose(read(session, second), fresh(model, second), atol=TOLERANCE)
    assert session.reused == first.turns[-1]


def test_a_whole_reply_that_stays_in_history_is_not_read_again(model: Gemma4Unified, read_lengths: list[int]) -> None:
    session, prompt = Session(model), Prompt(list(range(300, 360)), turns=[57])
    said = reply(session, prompt, 20)
    longer = Prompt([*prompt.ids, *said, *range(400, 410)], turns=[80])
    read_lengths.clear()
    np.testing.assert_allclose(read(session, longer), fresh(model, longer), atol=TOLERANCE)
    assert read_lengths[0] == 11  # the reply's last token was never fed to the model


@pytest.mark.parametrize("make", [picture, sound])
def test_other_media_under_equal_placeholders_never_match(
    model: Gemma4Unified, processor: Processor, make: Any
) -> None:
    kind = "image" if make is picture else "audio"
    session = Session(model)
    prompts = [
        processor.prompt([user(WORDS, {"type": kind, kind: make(seed)}), assistant("x"), user(WORDS)])
        for seed in (1, 2)
    ]
    assert prompts[0].ids == prompts[1].ids
    for prompt in prompts:
        np.testing.assert_allclose(read(session, prompt), fresh(model, prompt), atol=TOLERANCE)
        assert session.reused <= prompt.spans[0].start
    assert np.abs(read(session, prompts[0]) - read(session, prompts[1])).max() > 0.01


def test_changed_and_shortened_history(model: Gemma4Unified, processor: Processor) -> None:
    messages, session = conversation(4), Session(model)
    read(session, processor.prompt(messages))
    for changed in (
        [*messages[:-2], assistant("another answer"), messages[-1]],
        [messages[0], assistant("no"), *messages[2:]],
        messages[:3],
        [{"role": "system", "content": "be brief"}, *messages],
    ):
        prompt = processor.prompt(changed)
        np.testing.assert_allclose(read(session, prompt), fresh(model, prompt), atol=TOLERANCE)


def test_a_block_that_grew_or_shrank_is_read_as_a_whole(model: Gemma4Unified) -> None:
    image = model.config.tokens.image
    spans = [Span("image", 10, picture(1)), Span("image", 14, picture(2))]
    alone = Prompt([300] * 10 + [image] * 4 + [301] * 30, spans[:1], turns=[14])
    touching = Prompt([300] * 10 + [image] * 8 + [301] * 30, spans, turns=[18])
    session = Session(model)
    for prompt in (alone, touching, alone):
        np.testing.assert_allclose(read(session, prompt), fresh(model, prompt), atol=TOLERANCE)
        assert session.reused <= 10


def test_a_long_way_from_the_turns_beginning_is_snapshotted_too(model: Gemma4Unified, read_lengths: list[int]) -> None:
    session, prompt = Session(model), Prompt(list(range(300, 400)), turns=[40])
    np.testing.assert_allclose(read(session, prompt), fresh(model, prompt), atol=TOLERANCE)
    other = Prompt([*prompt.ids[:40], *range(500, 560)], turns=[40])
    read_lengths.clear()
    got = read(session, other)
    assert sum(read_lengths) == 60
    np.testing.assert_allclose(got, fresh(model, other), atol=TOLERANCE)


def test_progress_counts_the_whole_prompt(model: Gemma4Unified) -> None:
    steps: list[tuple[int, int]] = []
    session, prompt = Session(model), Prompt([300] * 70, turns=[35])
    session.read(prompt, 80, 20, lambda *step: steps.append(step))
    assert steps == [(20, 70), (55, 70)]


def test_caches_grow_by_half_and_stop_at_the_longest(model: Gemma4Unified) -> None:
    session = Session(model, longest=130)
    for length, room, expected in ((60, 20, 80), (70, 15, 120), (100, 22, 130), (140, 10, 150)):
        prompt = Prompt([300 + i for i in range(length)], turns=[length - 5])
        np.testing.assert_allclose(read(session, prompt, room), fresh(model, prompt), atol=TOLERANCE)
        assert session.max_length == expected
        assert max(array.shape[2] for cache in session.caches for array in cache.arrays()) == expected
    session.clear()
    assert (session.caches, session.nbytes) == ([], 0)


@pytest.mark.parametrize("cut", [0, 1, 7, 29])
def test_a_reply_that_is_broken_off_leaves_the_caches_right(model: Gemma4Unified, cut: int) -> None:
    """Broken off while nothing runs, after `cut` tokens."""
    session, prompt = Session(model), Prompt(list(range(300, 380)), turns=[77])
    logits = session.read(prompt, 120, CHUNK)
    tokens = session.follow(decode(model, session.caches, logits, lambda x: mx.argmax(x, axis=-1), 30))
    said = [next(tokens) for _ in range(cut)]
    tokens.close()
    longer = Prompt([*prompt.ids, *said, *range(400, 420)], turns=[100])
    np.testing.assert_allclose(read(session, longer), fresh(model, longer), atol=TOLERANCE)
    assert session.reused == 80 + cut


def broken(count: int) -> Iterator[int]:
    yield from range(400, 400 + count)
    raise KeyboardInterrupt


def test_after_an_error_inside_a_pass_only_the_snapshot_is_trusted(model: Gemma4Unified) -> None:
    session, prompt = Session(model), Prompt(list(range(300, 380)), turns=[70])
    read(session, prompt)
    with pytest.raises(KeyboardInterrupt):
        list(session.follow(broken(3)))
    np.testing.assert_allclose(read(session, prompt), fresh(model, prompt), atol=TOLERANCE)
    assert session.reused == 70


def test_after_an_error_while_reading_only_the_snapshot_is_trusted(
    model: Gemma4Unified, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, prompt = Session(model), Prompt(list(range(300, 380)), turns=[70])
    read(session, prompt)
    longer = Prompt([*prompt.ids, *range(400, 450)], turns=[125])

    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.read(longer, 150, CHUNK, fail)
    np.testing.assert_allclose(read(session, longer), fresh(model, longer), atol=TOLERANCE)
    assert session.reused == 70


def test_drafts_that_are_broken_off_inside_a_pass_leave_the_caches_right(model: Gemma4Unified) -> None:
    prompt = Prompt([*range(300, 340), *([500, 501, 502, 503] * 10)], turns=[70])
    for cut in range(1, 25):
        session = Session(model)
        hidden = session.read_hidden(prompt, 140, CHUNK)
        sampler = Sampler(GenerationOptions(), 768)
        tokens = session.follow(
            decode_with_drafts(
                model, session.caches, hidden, sampler, 40, (), PromptLookup(prompt.ids), Pacer(fixed=15)
            )
        )
        said = [next(tokens) for _ in range(cut)]
        longer = Prompt([*prompt.ids, *said, *range(400, 410)], turns=[80 + cut])
        np.testing.assert_allclose(read(session, longer), fresh(model, longer), atol=TOLERANCE)
        assert session.reused >= 80 + cut - 1


EDITS = st.lists(
    st.tuples(
        st.integers(0, 60),  # how much of the prompt stays, from its end
        st.lists(st.sampled_from(["text", "image", "touching", "audio"]), max_size=3),
        st.integers(1, 25),  # text at the end
        st.integers(0, 30),  # tokens of the reply
        st.booleans(),  # whether the reply stays
    ),
    min_size=2,
    max_size=6,
)


@given(EDITS, st.integers(0, 3))
@settings(deadline=None, max_examples=12)
def test_any_edits_of_the_history_are_answered_as_if_it_was_new(
    model: Gemma4Unified, edits: list[tuple[int, list[str], int, int, bool]], seed: int
) -> None:
    session = Session(model)
    ids: list[int] = []
    spans: list[Span] = []
    for cut, parts, text, count, stays in edits:
        stop = max(0, len(ids) - cut)
        stop = min([stop, *(span.start for span in spans if span.start < stop < span.stop)])
        ids, spans = ids[:stop], [span for span in spans if span.stop <= stop]
        for number, part in enumerate(parts):
            add(model, ids, spans, part, seed + number)
        ids += [300 + (seed + i) % 3 for i in range(text)]
        prompt = Prompt(list(ids), list(spans), turns=[len(ids) - text, len(ids) - text // 2])
        np.testing.assert_allclose(read(session, prompt), fresh(model, prompt), atol=TOLERANCE)
        said = list(session.follow(decode(model, session.caches, mx.zeros((1, 768)), lambda _: mx.array([301]), count)))
        ids += said if stays else []


def add(model: Gemma4Unified, ids: list[int], spans: list[Span], part: str, seed: int) -> None:
    tokens = model.config.tokens
    if part == "text":
        ids += [310 + seed] * 5
    elif part == "audio":
        spans.append(Span("audio", len(ids), sound(seed % 2)[0]))
        ids += [tokens.audio] * 6
    else:
        for _ in range(1 + (part == "touching")):
            spans.append(Span("image", len(ids), picture(seed % 2)))
            ids += [tokens.image] * 4
