"""The engines that are compared, each behind the same few calls. Nothing of one is imported before it is made.

Every engine reads a prompt of token ids and writes a greedy reply (`reply`). Those that can read a prompt with a
picture (`look`), go on with a conversation (`turn`), and build a decode step without running it (`stepper`).
What one can't do is in its `lacks`, with the reason.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

CHUNK = 512
"""Tokens of prompt read at once, in every engine that reads in chunks."""

Messages = list[dict[str, str]]
Reply = tuple[Iterator[Any], Callable[[], int]]
"""The tokens of a reply, its prompt still unread, and what tells the bytes of the caches."""

Step = Callable[[Any], tuple[Any, list[Any]]]
"""Takes a token `(1,)`; returns logits and the arrays of the caches, all lazy."""


class Ours:
    """This package."""

    lacks: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        from gemma4_mlx.api import load
        from gemma4_mlx.engine.session import Session

        self.model, self.processor = load(folder)
        self.session = Session(self.model)
        self.vocabulary = self.model.config.text.vocab_size

    def reply(self, ids: list[int], count: int) -> Reply:
        from gemma4_mlx.model.cache import cache_arrays
        from gemma4_mlx.prompt.prompt import Prompt

        caches = self.model.make_caches(len(ids) + count)
        return self._tokens(Prompt(ids), caches, count), lambda: nbytes(cache_arrays(caches))

    def _tokens(self, prompt: Any, caches: Any, count: int) -> Iterator[int]:
        from gemma4_mlx.engine.prefill import read_hidden
        from gemma4_mlx.measure.speed import unguessed

        yield from unguessed(self.model, caches, read_hidden(self.model, prompt, caches, CHUNK), count)

    def look(self, text: str, picture: str) -> tuple[int, Iterator[Any]]:
        prompt = self._prompt([{"role": "user", "content": text}], picture)
        caches = self.model.make_caches(len(prompt.ids) + 1)
        return len(prompt.ids), self._tokens(prompt, caches, 1)

    def turn(self, messages: Messages, picture: str | None, count: int) -> Iterator[Any]:
        from gemma4_mlx.measure.speed import unguessed

        if len(messages) == 1:
            self.session.clear()
        prompt = self._prompt(messages, picture)
        hidden = self.session.read_hidden(prompt, len(prompt.ids) + count, CHUNK)
        yield from self.session.follow(unguessed(self.model, self.session.caches, hidden, count))

    def _prompt(self, messages: Messages, picture: str | None) -> Any:
        return self.processor.prompt(with_picture(messages, picture))

    def stepper(self, room: int) -> Step:
        from gemma4_mlx.measure.paths import step
        from gemma4_mlx.model.cache import cache_arrays

        caches = self.model.make_caches(room)

        def run(token: Any) -> tuple[Any, list[Any]]:
            if not caches[0].offset:
                return self.model.logits(self.model(self.model.embed(token.tolist()), caches)), cache_arrays(caches)
            return step(self.model, caches, token), cache_arrays(caches)

        return run


class MlxLm:
    """mlx-lm, which reads the text part only."""

    lacks: ClassVar[dict[str, str]] = {"look": "reads text only"}

    def __init__(self, folder: Path) -> None:
        from mlx_lm.utils import load

        self.vocabulary = vocabulary_of(folder)
        self.model, self.tokenizer, *_ = load(str(folder), model_config={"vocab_size": self.vocabulary})
        self.caches: Any = None

    def reply(self, ids: list[int], count: int) -> Reply:
        caches = self._new_caches()
        return self._tokens(ids, caches, count), lambda: nbytes(buffers(caches))

    def _tokens(self, ids: list[int], caches: Any, count: int) -> Iterator[Any]:
        import mlx.core as mx
        from mlx_lm.generate import generate_step

        return generate_step(mx.array(ids), self.model, max_tokens=count, prompt_cache=caches, prefill_step_size=CHUNK)

    def turn(self, messages: Messages, picture: str | None, count: int) -> Iterator[Any]:
        """As its chat command: the new turn alone goes behind what the caches hold, whatever history would say."""
        assert picture is None, self.lacks["look"]
        if len(messages) == 1:
            self.caches = self._new_caches()
        ids = self.tokenizer.apply_chat_template(messages[-1:], add_generation_prompt=True)
        yield from self._tokens(ids, self.caches, count)

    def _new_caches(self) -> Any:
        from mlx_lm.models.cache import make_prompt_cache

        return make_prompt_cache(self.model)

    def stepper(self, room: int) -> Step:
        caches = self._new_caches()
        return lambda token: (self.model(token[None], cache=caches)[:, -1], buffers(caches))


class MlxVlm:
    """mlx-vlm."""

    lacks: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        from mlx_vlm.utils import load

        self.model, self.processor = load(str(folder))
        self.vocabulary = vocabulary_of(folder)
        self.state: Any = None

    def reply(self, ids: list[int], count: int) -> Reply:
        import mlx.core as mx
        from mlx_vlm.generate import generate_step

        caches = self._new_caches()
        options = {"max_tokens": count, "temperature": 0.0, "prefill_step_size": CHUNK, "prompt_cache": caches}
        steps = generate_step(mx.array([ids]), self.model, None, None, **options)
        return steps, lambda: nbytes(buffers(caches))

    def look(self, text: str, picture: str) -> tuple[int, Iterator[Any]]:
        replies = self._stream([{"role": "user", "content": text}], picture, 1)
        first = next(replies)
        return first.prompt_tokens, iter([first])

    def turn(self, messages: Messages, picture: str | None, count: int) -> Iterator[Any]:
        """As its chat command, with the cache that it keeps for the next turn."""
        from mlx_vlm.generate import PromptCacheState

        if len(messages) == 1:
            self.state = PromptCacheState()
        yield from self._stream(messages, picture, count, prompt_cache_state=self.state)

    def _stream(self, messages: Messages, picture: str | None, count: int, **options: Any) -> Iterator[Any]:
        from mlx_vlm import stream_generate
        from mlx_vlm.prompt_utils import apply_chat_template

        prompt = apply_chat_template(
            self.processor, self.model.config, messages, num_images=0 if picture is None else 1
        )
        pictures = None if picture is None else [picture]
        options |= {"max_tokens": count, "temperature": 0.0, "prefill_step_size": CHUNK}
        return stream_generate(self.model, self.processor, prompt, image=pictures, **options)

    def _new_caches(self) -> Any:
        from mlx_vlm.models.cache import make_prompt_cache

        return make_prompt_cache(self.model.language_model)

    def stepper(self, room: int) -> Step:
        caches = self._new_caches()
        return lambda token: (self.model.language_model(token[None], cache=caches).logits[:, -1], buffers(caches))


class Transformers:
    """transformers on torch, on the CPU."""

    lacks: ClassVar[dict[str, str]] = {
        "stepper": "builds no graph: every operation runs at once",
        "peak": "torch does not count its memory on the CPU",
    }

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForMultimodalLM, AutoProcessor

        self.model = AutoModelForMultimodalLM.from_pretrained(folder, dtype="auto").eval()
        self.processor = AutoProcessor.from_pretrained(folder)
        self.vocabulary = vocabulary_of(folder)

    def reply(self, ids: list[int], count: int) -> Reply:
        from transformers import DynamicCache

        caches = DynamicCache(config=self.model.config)

        def size() -> int:
            return nbytes([part for layer in caches.layers for part in (layer.keys, layer.values)])

        return self._tokens(ids, caches, count), size

    def _tokens(self, ids: list[int], caches: Any, count: int) -> Iterator[int]:
        import torch

        with torch.inference_mode():
            for start in range(0, len(ids), CHUNK):
                logits = self._pass(ids[start : start + CHUNK], caches)
            for left in reversed(range(count)):
                token = int(logits.argmax())
                yield token
                if left:
                    logits = self._pass([token], caches)

    def _pass(self, ids: list[int], caches: Any) -> Any:
        import torch

        kinds = torch.zeros((1, len(ids)), dtype=torch.long)
        done = self.model(
            input_ids=torch.tensor([ids]), mm_token_type_ids=kinds, past_key_values=caches, logits_to_keep=1
        )
        return done.logits[0, -1]

    def look(self, text: str, picture: str) -> tuple[int, Iterator[Any]]:
        inputs = self._inputs([{"role": "user", "content": text}], picture)
        return inputs["input_ids"].shape[1], self._generated(inputs)

    def turn(self, messages: Messages, picture: str | None, count: int) -> Iterator[Any]:
        """Everything again, as it keeps nothing from one prompt to the next. The reply is not needed."""
        yield from self._generated(self._inputs(messages, picture))

    def _inputs(self, messages: Messages, picture: str | None) -> Any:
        from PIL import Image

        opened = None if picture is None else Image.open(picture)
        return self.processor.apply_chat_template(
            with_picture(messages, opened),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def _generated(self, inputs: Any) -> Iterator[Any]:
        import torch

        with torch.inference_mode():
            yield self.model.generate(**inputs, max_new_tokens=1, do_sample=False)


def step_seconds(run: Step, steps: int) -> tuple[float, float]:
    """Seconds of this thread's work to build a step, and of a whole step: medians, without a few that warm up."""
    import mlx.core as mx

    token, built, whole = mx.array([300]), [], []
    for _ in range(steps):
        started, busy = time.perf_counter(), time.thread_time()
        logits, caches = run(token)
        built.append(time.thread_time() - busy)
        token = mx.argmax(logits.reshape(1, -1), axis=-1)
        mx.eval(token, caches)
        whole.append(time.perf_counter() - started)
    return median(built[4:]), median(whole[4:])


ENGINES = {"gemma4_mlx": Ours, "mlx-lm": MlxLm, "mlx-vlm": MlxVlm, "transformers": Transformers}


def with_picture(messages: Messages, picture: Any) -> list[dict[str, Any]]:
    """Messages in parts, with a picture before the first one's text."""
    parts: list[dict[str, Any]] = [] if picture is None else [{"type": "image", "image": picture}]
    written = []
    for message in messages:
        written.append({"role": message["role"], "content": [*parts, {"type": "text", "text": message["content"]}]})
        parts = []
    return written


def vocabulary_of(folder: Path) -> int:
    """Token ids in a checkpoint's configuration."""
    size: int = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]["vocab_size"]
    return size


def buffers(caches: Any) -> list[Any]:
    """The arrays of a peer's caches, quantized ones as well, with whatever they allocated ahead."""
    from mlx.utils import tree_flatten

    return [array for cache in caches for _, array in tree_flatten([cache.keys, cache.values])]


def nbytes(arrays: list[Any]) -> int:
    """Bytes of all of them."""
    return sum(array.nbytes for array in arrays)
