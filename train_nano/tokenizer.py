"""Train the nano tokenizer on the generators' own text: python -m train_nano.tokenizer

The result has the structure of the published tokenizer (a space becomes U+2581, byte fallback, single digits) and its
special tokens.
"""

import json
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from train_nano import chat
from train_nano.architecture import Architecture
from train_nano.data import mixture
from train_nano.settings import TOKENIZER

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
SPECIAL += [
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
    "<|think|>",
]
SPECIAL += [
    "<|channel>",
    "<channel|>",
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<|image|>",
    "<image|>",
    "<|audio>",
    "<|audio|>",
    "<audio|>",
]
SPECIAL += ["<|video|>"]
ALPHABET = [chr(c) for c in range(33, 127)] + ["\n", "\u2581"]


def corpus(count: int, seed: int = 1) -> list[str]:
    """Prompts and answers as training sees them, special tokens cut out."""
    rng, texts = random.Random(seed), []
    for _ in range(count):
        sample = mixture.draw(rng)
        text = (
            chat.render(sample.messages, sample.tools, sample.thought is not None)
            + (sample.thought or "")
            + "\n"
            + sample.answer
        )
        for token in SPECIAL:
            text = text.replace(token, "\0")
        texts += [piece for piece in text.split("\0") if piece]
    return texts


def train(texts: list[str], vocab: int) -> Tokenizer:
    """BPE whose pieces are a word with its leading space, a digit, a run of newlines or punctuation."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    word = Regex("\u2581?[A-Za-z]+|[0-9]|\n+|\u2581?[^A-Za-z0-9\n\u2581]|\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(word, "isolated")
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - 256,
        special_tokens=SPECIAL,
        initial_alphabet=ALPHABET,
        limit_alphabet=len(ALPHABET),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    state = json.loads(tokenizer.to_str())
    learned = [t for t, _ in sorted(state["model"]["vocab"].items(), key=lambda item: item[1]) if t not in SPECIAL]
    state["model"]["vocab"] = {t: i for i, t in enumerate(SPECIAL + bytes_ + learned)}
    state["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    state["added_tokens"] = [
        {
            "id": i,
            "content": t,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, t in enumerate(SPECIAL)
    ]
    made = Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    return made


def main() -> None:
    texts = corpus(12000)
    tokenizer = train(texts, Architecture().vocab)
    TOKENIZER.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(TOKENIZER))
    count = sum(len(tokenizer.encode(t, add_special_tokens=False).ids) for t in texts[:3000])
    print(f"{tokenizer.get_vocab_size()} entries; {sum(map(len, texts[:3000])) / count:.2f} characters a token")


if __name__ == "__main__":
    main()
