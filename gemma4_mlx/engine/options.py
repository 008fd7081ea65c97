"""How a reply is written: one dataclass, filled from a checkpoint's generation_config.json and from the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gemma4_mlx.errors import GemmaError, UsageError

AUTO: Literal["auto"] = "auto"
NONE: Literal["none"] = "none"
KVBits = Literal["auto", "none"] | int
"""Bits of the caches; "none" keeps the model's own type, "auto" takes 8 bits where that does not fit."""


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
    num_draft_tokens: Literal["auto"] | int = AUTO
    prefill_step_size: int = 512

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        _check("max_tokens", self.max_tokens, self.max_tokens >= 1, "from 1 up")
        _check("temperature", self.temperature, 0 <= self.temperature <= 100, "from 0 to 100")
        _check("top_k", self.top_k, self.top_k >= 0, "from 0 up")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "over 0 and at most 1")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1")
        _check("repetition_penalty", self.repetition_penalty, 0 < self.repetition_penalty <= 100, "over 0 up to 100")
        _check("seed", self.seed, self.seed is None or 0 <= self.seed < 2**64, "from 0 to 2**64 - 1")
        budget = self.thinking_budget
        _check("thinking_budget", budget, budget is None or budget >= 0, "from 0 up")
        _check("max_kv_size", self.max_kv_size, self.max_kv_size is None or self.max_kv_size >= 2, "from 2 up")
        _check("kv_bits", self.kv_bits, self.kv_bits in (AUTO, NONE, 8, 4), "auto, none, 8 or 4")
        _check("kv_group_size", self.kv_group_size, self.kv_group_size in (32, 64, 128), "32, 64 or 128")
        drafts = self.num_draft_tokens
        _check("num_draft_tokens", drafts, drafts == AUTO or 0 <= int(drafts) <= 15, "auto, or from 0 to 15")
        _check("prefill_step_size", self.prefill_step_size, self.prefill_step_size >= 1, "from 1 up")

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **overrides: Any) -> "GenerationOptions":
        """Options of a generation_config.json, but for what `overrides` gives (None stands for "not given").

        Raises GemmaError for what is of another kind or out of range in the configuration, UsageError in `overrides`.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        own = {key: value for key, value in _checkpoints_own(config).items() if value is not None and key not in given}
        try:
            cls(**own)
        except UsageError as error:
            raise GemmaError(f"generation_config.json: {error}") from None
        return cls(**own, **given)


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


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise UsageError(f"{name} must be {allowed}, not {value}")
