"""A real byte-pair tokenizer with Gemma 4's control tokens, small enough to be trained in a moment."""

import json
import shutil
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTROL_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    *('<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"),
    *("<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"),
)

TRAINING_TEXT = """\
The little boat left the harbour early, and nobody on the pier could say where it was going.
What is in this picture? Two red apples, a glass of water and a letter that someone has folded twice.
Please transcribe the recording, then tell me in one sentence what the speaker was asking for.
She counted the steps on her way down: one, two, three, and so on until there were forty-eight of them.
system user model tool thought description parameters properties required type STRING NUMBER OBJECT call response value
def area(width, height): return width * height  # square metres
Der Zug nach Norden fährt um 7:45 Uhr; il treno per il sud parte alle 9:30; le prochain train est à midi.
"""


@cache
def train_tokenizer(vocab_size: int = 768) -> Tokenizer:
    """A byte-pair encoding with Gemma 4's control tokens, byte fallback and handling of spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*CONTROL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[*map(chr, range(33, 127)), "\n", "▁"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT.splitlines(keepends=True), trainer)
    state = json.loads(tokenizer.to_str())
    # The trainer made control tokens of the bytes too; they are ordinary entries.
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in CONTROL_TOKENS]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL_TOKENS])
    return tokenizer


def write_tokenizer(folder: Path, source: str | Path | None) -> Tokenizer:
    """Puts tokenizer.json and tokenizer_config.json into the folder."""
    if source is None:
        train_tokenizer().save(str(folder / "tokenizer.json"))
    else:
        source = Path(source)
        shutil.copyfile(source / "tokenizer.json" if source.is_dir() else source, folder / "tokenizer.json")
    named = {"image": "<|image|>", "audio": "<|audio|>", "boi": "<|image>", "eoi": "<image|>"}
    named |= {"boa": "<|audio>", "eoa": "<audio|>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "unk": "<unk>"}
    settings = {f"{name}_token": token for name, token in named.items()} | {"tokenizer_class": "GemmaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
