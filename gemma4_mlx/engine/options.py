"""How a reply is written: one dataclass, filled from a checkpoint's generation_config.json and from the caller."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal

from gemma4_mlx.errors import GemmaError, UsageError, check_argument, is_real, is_whole, shortened

AUTO: Literal["auto"] = "auto"
NONE: Literal["none"] = "none"
KVBits = Literal["auto", "none"] | int
"""Bits of the caches; "none" keeps the model's own type, "auto" takes 8 bits where that does not fit."""

OTHERS_NAMES = {
    "temp": "temperature",
    "max_new_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    "stop_strings": "stop",
    "eos_token_id": "eos_ids",
    "image": "images",
    "system": 'messages that begin with {"role": "system", ...}',
    "system_prompt": 'messages that begin with {"role": "system", ...}',
    "video": "videos",
    "schema": "json_schema",
    "response_format": "json_schema",
    "prefill": "prefill_response",
    "draft_model": "drafter",
    "prompt_cache": "session",
    "max_frames": "media=MediaOptions(max_frames=...)",
    "fps": "media=MediaOptions(fps=...)",
    "image_tokens": "media=MediaOptions(image_tokens=...)",
}
"""What other libraries call the arguments, or where they are."""
BESIDE = (
    *("images", "audio", "videos", "tools", "enable_thinking", "prefill_response", "json_schema"),
    *("media", "template_variables", "progress", "session", "drafter"),
)
"""Arguments of `stream_generate` beside these options."""

MOST_STOPS, LONGEST_STOP = 256, 4096
"""Stop strings, and characters of one: each is looked for after each token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """The defaults are greedy; a checkpoint's own are in its generation_config.json.

    Attributes:
        max_tokens: at most this many tokens, thought included.
        temperature: 0 takes the likeliest token.
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: of these, keep the likeliest that together reach this probability.
        min_p: of these, drop what is less likely than this share of the likeliest.
        repetition_penalty: divide positive and multiply negative logits of tokens already seen; 1 changes nothing.
        suppress_tokens: ids that are never chosen, greedy decoding included.
        seed: makes sampling repeatable; None takes a new one each time.
        thinking_budget: at most this many tokens of thought; then it is ended and the answer follows. None sets none.
        constrain_calls: keep tool calls to the declared names and their schemas, so that no malformed one is written.
        eos_ids: ids that end the reply.
        stop: strings that end the answer, or only one; they are not part of it.
        max_kv_size: at most this many positions for prompt and reply together; None is the model's whole context.
        kv_bits: 8 or 4 bits for the caches; "none" keeps the model's own type, "auto" takes 8 bits where
            that would not fit.
        kv_group_size: cached numbers that share a scale: 32, 64 or 128.
        memory_limit: "16GB" keeps to what a Mac with so much memory may use; None to what this device may.
        wire: keep weights and caches resident on a Mac's GPU while the reply runs; else macOS may swap them out.
        num_draft_tokens: tokens guessed ahead in each pass; "auto" as many as pay off, 0 none.
        prefill_step_size: tokens of prompt read at once, a little more or less around media.
    """

    max_tokens: int = 1024
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    suppress_tokens: Sequence[int] = ()
    seed: int | None = None
    thinking_budget: int | None = None
    constrain_calls: bool = True
    eos_ids: Sequence[int] = ()
    stop: Sequence[str] | str = ()
    max_kv_size: int | None = None
    kv_bits: KVBits = AUTO
    kv_group_size: int = 64
    memory_limit: str | None = None
    wire: bool = True
    num_draft_tokens: Literal["auto"] | int = AUTO
    prefill_step_size: int = 512

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        self._check_kinds()
        self._check_numbers()
        for name in ("constrain_calls", "wire"):
            self._check(name, isinstance(getattr(self, name), bool), "True or False")

    def _check_kinds(self) -> None:
        for name in ("eos_ids", "suppress_tokens"):
            ids = getattr(self, name)
            listed = isinstance(ids, Collection) and not isinstance(ids, (str, bytes, Mapping))
            check_argument(name, ids, listed and all(is_whole(id, 0) for id in ids), "a list of token ids")
        stop = self.stop
        listed = isinstance(stop, Collection) and not isinstance(stop, (bytes, Mapping))
        check_argument(
            "stop", stop, listed and all(isinstance(text, str) for text in stop), "a text or a list of texts"
        )
        lengths = [len(text) for text in stop]
        allowed = f"at most {MOST_STOPS} texts of {LONGEST_STOP} characters"
        if len(lengths) > MOST_STOPS or max(lengths, default=0) > LONGEST_STOP:
            raise UsageError(f"stop must be {allowed}, not {len(lengths)} of up to {max(lengths)}", arguments=["stop"])

    def _check_numbers(self) -> None:
        check = self._check
        check("max_tokens", is_whole(self.max_tokens, 1), "a whole number from 1 up")
        check("temperature", is_real(self.temperature, 0, 100), "from 0 to 100")
        check("top_k", is_whole(self.top_k, 0), "a whole number from 0 up")
        check("top_p", is_real(self.top_p, 0, 1) and self.top_p > 0, "over 0 and at most 1")
        check("min_p", is_real(self.min_p, 0, 1), "from 0 to 1")
        penalty = self.repetition_penalty
        check("repetition_penalty", is_real(penalty, 0, 100) and penalty > 0, "over 0 up to 100")
        seed, budget, longest = self.seed, self.thinking_budget, self.max_kv_size
        check("seed", seed is None or is_whole(seed, 0, 2**64 - 1), "a whole number from 0 to 2**64 - 1")
        check("thinking_budget", budget is None or is_whole(budget, 0), "a whole number from 0 up")
        check("max_kv_size", longest is None or is_whole(longest, 2), "a whole number from 2 up")
        check("kv_bits", _is_one_of(self.kv_bits, (AUTO, NONE, 8, 4)), "auto, none, 8 or 4")
        check("kv_group_size", _is_one_of(self.kv_group_size, (32, 64, 128)), "32, 64 or 128")
        drafts = self.num_draft_tokens
        check("num_draft_tokens", _is_one_of(drafts, (AUTO,)) or is_whole(drafts, 0, 15), "auto, or from 0 to 15")
        check("prefill_step_size", is_whole(self.prefill_step_size, 1), "a whole number from 1 up")

    def _check(self, name: str, holds: bool, allowed: str) -> None:
        """Raise UsageError for an argument that is out of range, or no number where one must be."""
        check_argument(name, getattr(self, name), holds, allowed)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **overrides: Any) -> "GenerationOptions":
        """Options of a generation_config.json, but for what `overrides` gives (None stands for "not given").

        Raises GemmaError for what is of another kind or out of range in the configuration, UsageError in `overrides`.
        """
        _check_names(overrides)
        given = {key: value for key, value in overrides.items() if value is not None}
        own = {key: value for key, value in _checkpoints_own(config).items() if value is not None and key not in given}
        try:
            cls(**own)
        except UsageError as error:
            raise GemmaError(f"generation_config.json: {error}") from None
        return cls(**own, **given)


def _check_names(given: Collection[str]) -> None:
    """Raise UsageError for an argument that there is not, with the one that may be meant."""
    known = [field.name for field in fields(GenerationOptions)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, [*known, *BESIDE], n=1, cutoff=0.7)
            meant = OTHERS_NAMES.get(name) or (near[0] if near else None)
            cure = f"did you mean {meant}?" if meant else f"there are {', '.join([*BESIDE, *known])}"
            raise UsageError(f"there is no argument {shortened(name)}; {cure}")


def _checkpoints_own(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a generation_config.json says; None where it says nothing."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    own: dict[str, Any] = {name: _number(name, config.get(name), whole=name == "top_k") for name in names}
    if not config.get("do_sample", True):
        own["temperature"] = 0.0
    for name, key in (("eos_ids", "eos_token_id"), ("suppress_tokens", "suppress_tokens")):
        ids = config.get(key)
        ids = ids if isinstance(ids, (list, tuple)) else [ids]
        own[name] = tuple(_number(key, id, whole=True) for id in ids if id is not None)
    return own


def _number(name: str, value: Any, *, whole: bool) -> Any:
    if value is not None and (not isinstance(value, int if whole else (int, float)) or isinstance(value, bool)):
        raise GemmaError(f"generation_config.json: {name} must be a {'whole ' * whole}number, not {value!r}")
    return value


def _is_one_of(value: object, allowed: Sequence[str | int]) -> bool:
    """Whether a value is one of a few words or whole numbers: 8.0 is not 8, and True not 1."""
    return (isinstance(value, str) or is_whole(value, 0)) and value in allowed
