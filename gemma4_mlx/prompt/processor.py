"""Messages with media -> `Prompt`: the checkpoint's template, tokenizer and media settings in one place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gemma4_mlx.config import LARGEST, ModelConfig, TokenIds, whole
from gemma4_mlx.errors import GemmaError, check_argument, is_real, is_whole, note, shortened
from gemma4_mlx.files import read_json
from gemma4_mlx.media.images import BUDGETS, Patches
from gemma4_mlx.media.sources import MediaLimits
from gemma4_mlx.media.video import Video
from gemma4_mlx.prompt.messages import quote_all, read_messages
from gemma4_mlx.prompt.parts import MediaPart
from gemma4_mlx.prompt.prompt import MediaKind, Prompt, Span
from gemma4_mlx.prompt.template import ChatTemplate, check_variables
from gemma4_mlx.prompt.tokenizer import TURN, Tokenizer

IMAGE, AUDIO, VIDEO = "<|image|>", "<|audio|>", "<|video|>"
"""What templates write where a picture, a sound or a film goes."""

MEDIA_BOUNDS = ("<|image>", "<image|>", "<|audio>", "<audio|>")
"""Control tokens around media, in the order of TokenIds."""

TOOL_BOUNDS = ("<|tool>", "<tool|>")
"""Control tokens around the declaration of a tool."""

LARGE_SHARE = 1 / 8
"""Share of the context from which tools are said to take much of it."""

ENDS = ("<eos>", "<turn|>", "<|tool_response>")
"""Control tokens that end every reply, whatever else the checkpoint's settings name."""

LONGEST_TOKEN = 32
"""Characters of a token; none of the published vocabulary has more."""

MARKUP = 10_000
"""Characters of markup that a template may write beside texts; a text that is quoted has up to twice its own."""

LONG_TEXT = 2**19
"""Characters of a text that is tried in parts before it is encoded, which takes a second for each million."""

BUDGETS_IN_WORDS = f"{', '.join(map(str, BUDGETS[:-1]))} or {BUDGETS[-1]}"
MOST_FRAMES = 10_000

WHOLE = ("eos_token_id", "suppress_tokens", "top_k")
"""Settings of generation_config.json that are whole numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaOptions:
    """How media are read.

    Attributes:
        image_tokens: at most this many tokens for a picture: 70, 140, 280, 560 or 1120.
        frame_tokens: the same for a frame of a film.
        max_frames: at most this many frames of a film.
        fps: frames a second of film, thinned out to max_frames; None spreads max_frames over its length.
        soundtrack: whether a film's sound follows its frames.
        limits: what is refused before it is decoded.
    """

    image_tokens: int = 280
    frame_tokens: int = 70
    max_frames: int = 32
    fps: float | None = None
    soundtrack: bool = True
    limits: MediaLimits = field(default_factory=MediaLimits)

    def __post_init__(self) -> None:
        for name in ("image_tokens", "frame_tokens"):
            value = getattr(self, name)
            check_argument(name, value, is_whole(value, 1) and value in BUDGETS, BUDGETS_IN_WORDS)
        check_argument("max_frames", self.max_frames, is_whole(self.max_frames, 1), "from 1 up")
        check_argument("fps", self.fps, self.fps is None or is_real(self.fps, 1e-6, 1e6), "None, or a number over 0")
        check_argument("soundtrack", self.soundtrack, isinstance(self.soundtrack, bool), "True or False")
        limits = type(self.limits).__name__
        check_argument("limits", limits, isinstance(self.limits, MediaLimits), "of the class MediaLimits")

    @classmethod
    def from_folder(cls, folder: Path) -> "MediaOptions":
        """The checkpoint's own settings of images and video; the defaults above where it has none.

        Raises GemmaError where they are of another kind.
        """
        image = _media_settings(folder, "image_processor", "preprocessor_config.json")
        video = _media_settings(folder, "video_processor", "video_preprocessor_config.json")
        return cls(
            image_tokens=image("max_soft_tokens", cls().image_tokens, BUDGETS),
            frame_tokens=video("max_soft_tokens", cls().frame_tokens, BUDGETS),
            max_frames=video("num_frames", cls().max_frames, range(1, MOST_FRAMES + 1)),
        )


@dataclass(frozen=True, slots=True)
class Processor:
    """Everything of a checkpoint that turns messages into a prompt."""

    config: ModelConfig
    tokenizer: Tokenizer
    template: ChatTemplate
    media: MediaOptions
    generation_config: Mapping[str, Any]

    @classmethod
    def from_folder(cls, folder: Path) -> "Processor":
        """Reads tokenizer, template and settings; no weights are needed."""
        config = ModelConfig.from_folder(folder)
        tokens = config.tokens
        placeholders = {IMAGE: tokens.image, AUDIO: tokens.audio, VIDEO: tokens.video}
        bounds = (tokens.image_start, tokens.image_end, tokens.audio_start, tokens.audio_end)
        placeholders |= dict(zip(MEDIA_BOUNDS, bounds, strict=True))
        tokenizer = Tokenizer.from_folder(folder, placeholders)
        tokenizer.check_ids(config.text.vocab_size)
        return cls(
            config=config,
            tokenizer=tokenizer,
            template=ChatTemplate.from_folder(folder, 2 * longest_text(config) + MARKUP),
            media=MediaOptions.from_folder(folder),
            generation_config=_generation_config(folder, tokenizer, config.text.vocab_size),
        )

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        enable_thinking: bool = False,
        prefill_response: str = "",
        media: MediaOptions | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """Renders, loads what the messages refer to, and expands placeholders, in the user's order.

        `prefill_response` is how the model's reply begins; `template_variables` go to the template as they are.
        Raises GemmaError for messages or media that can't be read, and for variables that are not the caller's to give.
        """
        check_variables(template_variables or {})
        quote = _Quoting(self.tokenizer.quote, longest_text(self.config))
        notes: list[str] = []
        read, parts = read_messages(messages, quote, notes.append)
        for text in notes:
            note(text)
        variables = {
            "tools": quote_all(tools, quote) or None,
            "enable_thinking": enable_thinking,
            "add_generation_prompt": True,
            **self.tokenizer.special_tokens,
        }
        rendered = self.template.render(read, **(variables | dict(template_variables or {})))
        for part in parts:
            _check_input(part.kind, self.config)
        loaded = [load_part(part, media or self.media) for part in parts]
        prompt = expand(rendered + quote(prefill_response), loaded, self.tokenizer, self.config)
        self._check_ids(prompt.ids)
        large = self._large_tools(prompt.ids, len(tools or ()))
        for text in large:
            note(text)
        return replace(prompt, notes=tuple(dict.fromkeys((*notes, *large, *prompt.notes))))

    def _large_tools(self, ids: Sequence[int], count: int) -> list[str]:
        """A note if the declarations of the tools take a large part of the context."""
        first, last = (self.tokenizer.control_ids.get(name) for name in TOOL_BOUNDS)
        if not count or first not in ids or last not in ids:
            return []
        taken, context = len(ids) - ids[::-1].index(last) - ids.index(first), self.config.text.max_position_embeddings
        said = f"the declarations of {count} tools take {taken:,} of the {context:,} tokens of the context; give fewer"
        return [said] if taken > context * LARGE_SHARE else []

    def _check_ids(self, ids: Sequence[int]) -> None:
        """Raises GemmaError for a prompt without its first token, or with tokens that the model has no embedding of."""
        if ids[:1] != (self.tokenizer.bos_id,):
            token = self.tokenizer.special_tokens["bos_token"]
            raise GemmaError(
                f"{self.template.name}: its prompts don't begin with {token}, which every one must; "
                "put {{ bos_token }} at the template's beginning"
            )
        vocab_size = self.config.text.vocab_size
        if max(ids) >= vocab_size:
            raise GemmaError(
                f"tokenizer.json: the prompt has token {max(ids)}, but config.json's vocab_size is {vocab_size}; "
                "take the tokenizer that belongs to the model"
            )


class _Quoting:
    """Quotes texts, until all of them together are more than any context can hold."""

    def __init__(self, quote: Callable[[str], str], longest: int) -> None:
        self._quote, self._longest, self._length = quote, longest, 0

    def __call__(self, text: str) -> str:
        self._length += len(text)
        if self._length > self._longest:
            raise GemmaError(
                f"the prompt has more than {self._longest} characters, which no context of this model holds: shorten it"
            )
        return self._quote(text)


def longest_text(config: ModelConfig) -> int:
    """Characters of the longest text that the context can hold."""
    return config.text.max_position_embeddings * LONGEST_TOKEN


Media = Patches | Video | list[np.ndarray]
"""What one media part of a message becomes: a picture, a film, or a sound's clips."""


def load_part(part: MediaPart, options: MediaOptions) -> Media:
    """Decodes one part. Something that is decoded already passes through."""
    if isinstance(part.source, (Patches, Video)) or _is_clips(part.source):
        return part.source
    if part.kind == "image":
        from gemma4_mlx.media.images import load_image

        return load_image(part.source, options.image_tokens, options.limits)
    if part.kind == "audio":
        from gemma4_mlx.media.audio import load_audio

        return load_audio(part.source, options.limits)
    from gemma4_mlx.media.video import load_video

    return load_video(
        part.source,
        max_frames=options.max_frames,
        fps=options.fps,
        budget=options.frame_tokens,
        soundtrack=options.soundtrack,
        limits=options.limits,
    )


def expand(rendered: str, media: Sequence[Media], tokenizer: Tokenizer, config: ModelConfig) -> Prompt:
    """Token ids of rendered text, each placeholder replaced by as many as its media have features."""
    builder = _Builder(tokenizer, config.tokens, config.text.max_position_embeddings)
    kinds = {config.tokens.image: Patches, config.tokens.audio: list, config.tokens.video: Video}
    waiting = iter(media)
    for id, text in tokenizer.pieces(rendered):
        if id is None:
            builder.text(text)
        elif id not in kinds:
            builder.token(id)
        else:
            item = next(waiting, None)
            if item is None or not isinstance(item, kinds[id]):
                raise GemmaError(f"the template wrote {text} where the messages have no such media")
            _check_features(item, config)
            builder.media(item)
    left = sum(1 for _ in waiting)
    if left:
        raise GemmaError(f"the template left out {left} of {len(media)} media; put them into user messages")
    return builder.finish()


class _Builder:
    """Collects ids and spans. Plain text is encoded in one piece up to the next control token."""

    def __init__(self, tokenizer: Tokenizer, tokens: TokenIds, context: int) -> None:
        self._tokenizer, self._tokens, self._context = tokenizer, tokens, context
        self._turn_id = tokenizer.control_ids.get(TURN)
        self._turns: list[int] = []
        self._ids: list[int] = []
        self._spans: list[Span] = []
        self._notes: list[str] = []
        self._text = ""

    def text(self, text: str) -> None:
        self._text += text

    def token(self, id: int) -> None:
        if self._text:
            self._ids += self._encode(self._text)
            self._text = ""
        if id == self._turn_id:
            self._turns.append(len(self._ids))
        self._ids.append(id)

    def media(self, item: Media) -> None:
        tokens = self._tokens
        self._notes += getattr(item, "notes", ())  # a list of clips that somebody made has none
        if isinstance(item, Patches):
            self._span("image", tokens.image, item, tokens.image_start, tokens.image_end)
        elif isinstance(item, Video):
            for index, (frame, seconds) in enumerate(zip(item.frames, item.timestamps, strict=True)):
                self.text(f"{' ' if index else ''}{int(seconds) // 60:02d}:{int(seconds) % 60:02d} ")
                self._span("video", tokens.video, frame, tokens.image_start, tokens.image_end)
            self.media(item.soundtrack)
        else:
            for clip in item:
                self._span("audio", tokens.audio, clip, tokens.audio_start, tokens.audio_end)

    def _encode(self, text: str) -> list[int]:
        """Ids of a text. Raises GemmaError at once for one that has far more than the context holds.

        How many tokens a part has does not depend on the rest but for a few at its ends, so twice as many are too many.
        """
        count = 0
        for start in range(0, len(text) if len(text) > LONG_TEXT else 0, LONG_TEXT):
            count += len(self._tokenizer.encode(text[start : start + LONG_TEXT]))
            if count > 2 * self._context:
                raise GemmaError(f"the prompt has far more than the {self._context} tokens of the context: shorten it")
        return self._tokenizer.encode(text)

    def _span(self, kind: MediaKind, id: int, features: Patches | np.ndarray, start: int, end: int) -> None:
        self.token(start)
        span = Span(kind, len(self._ids), features)
        self._spans.append(span)
        self._ids += [id] * (span.stop - span.start)
        self.token(end)

    def finish(self) -> Prompt:
        """The prompt, after a check that placeholders stand for features and for nothing else."""
        if self._text:
            self._ids += self._encode(self._text)
        placeholders = {self._tokens.image, self._tokens.video, self._tokens.audio}
        found = sum(1 for id in self._ids if id in placeholders)
        rows = sum(span.stop - span.start for span in self._spans)
        if found != rows:
            raise GemmaError(
                f"the prompt has {found} media placeholders for {rows} features; is tokenizer.json damaged?"
            )
        return Prompt(tuple(self._ids), tuple(self._spans), tuple(self._turns), tuple(self._notes))


def _check_input(kind: MediaKind, config: ModelConfig) -> None:
    """Raises GemmaError if the checkpoint has nothing that reads this kind of media."""
    if kind == "audio" and config.audio is None:
        raise GemmaError(
            "this checkpoint has no audio input: it can't listen; leave audio out, and take videos without soundtrack"
        )
    if kind != "audio" and config.vision is None:
        raise GemmaError("this checkpoint has no vision input: it can't read images or video; leave them out")


def _check_features(item: Media, config: ModelConfig) -> None:
    """Raises GemmaError where the checkpoint does not read this kind of media, or reads it in another shape."""
    vision, audio = config.vision, config.audio
    clips = item if isinstance(item, list) else item.soundtrack if isinstance(item, Video) else []
    frames = item.frames if isinstance(item, Video) else [item] if isinstance(item, Patches) else []
    if frames:
        _check_input("image", config)
    if clips:
        _check_input("audio", config)
    if vision is not None and frames and frames[0].pixels.shape[1] != vision.patch_size**2 * 3:
        raise GemmaError("its patches have another size")
    if audio is not None and clips and clips[0].shape[1] != audio.samples_per_token:
        raise GemmaError("its audio frames have another size")


def _media_settings(folder: Path, section: str, older: str) -> Callable[[str, int, Sequence[int]], int]:
    """Reads whole numbers of one kind of media by name, with what they are if the checkpoint does not say.

    They are in a section of processor_config.json; `older` exports have a file of their own for them.
    """
    path, section_of = folder / "processor_config.json", f" of {section}"
    table = read_json(path).get(section) if path.exists() else None
    if table is None and (folder / older).exists():
        path, section_of, table = folder / older, "", read_json(folder / older)
    table = {} if table is None else table
    if not isinstance(table, Mapping):
        raise GemmaError(f"{path.name}: {section} must be an object, not {type(table).__name__}")

    def read(name: str, default: int, allowed: Sequence[int]) -> int:
        value = whole(table.get(name))
        if value is not None and not is_whole(value, -LARGEST, LARGEST):
            raise GemmaError(f"{path.name}: {name}{section_of} must be a whole number, not {shortened(repr(value))}")
        if value is not None and value not in allowed:
            words = BUDGETS_IN_WORDS if allowed is BUDGETS else f"from 1 to {allowed[-1]}"
            raise GemmaError(f"{path.name}: {name}{section_of} must be {words}, not {value}")
        return default if value is None else int(value)

    return read


def _generation_config(folder: Path, tokenizer: Tokenizer, vocab_size: int) -> Mapping[str, Any]:
    """generation_config.json, with whole numbers where they are meant and with all tokens that end a reply.

    Which these are config.json says if it does not. Without the file replies are greedy.
    """
    path = folder / "generation_config.json"
    config: dict[str, Any] = read_json(path) if path.exists() else {"do_sample": False}
    config |= {name: _whole_numbers(config[name]) for name in WHOLE if name in config}
    if config.get("suppress_tokens") is not None:  # an id that the model does not have needs no suppression
        config["suppress_tokens"] = [id for id in _listed(config["suppress_tokens"]) if not _is_outside(id, vocab_size)]
    given = config.get("eos_token_id")
    given = _configured_ends(folder) if given is None else given
    ends = _listed(given)
    unreal = [id for id in ends if _is_outside(id, vocab_size)]
    if unreal:
        note(f"eos_token_id has {shortened(str(unreal))}, which this model never writes: not used")
        ends = [id for id in ends if id not in unreal]
    own = [tokenizer.control_ids[token] for token in ENDS if token in tokenizer.control_ids]
    return config | {"eos_token_id": [id for id in ends if id is not None] + [id for id in own if id not in ends]}


def _configured_ends(folder: Path) -> Any:
    config = read_json(folder / "config.json")
    own = (config.get("text_config") or {}).get("eos_token_id")
    return _whole_numbers(config["eos_token_id"] if config.get("eos_token_id") is not None else own)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_outside(id: Any, vocab_size: int) -> bool:
    return isinstance(id, int) and not 0 <= id < vocab_size


def _whole_numbers(value: Any) -> Any:
    return [whole(number) for number in value] if isinstance(value, list) else whole(value)


def _is_clips(source: Any) -> bool:
    return (
        isinstance(source, list)
        and bool(source)
        and all(isinstance(clip, np.ndarray) and clip.ndim == 2 and clip.dtype == np.float32 for clip in source)
    )
