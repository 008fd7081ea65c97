"""Everything that training reads, made once: python -m train_nano.prepare

Real text, small copies of photos, the bank of speech (all from installed packages), the tokenizer.
"""

from train_nano import tokenizer
from train_nano.data import library, photos, voices
from train_nano.settings import SPEECH, TEXTS, TOKENIZER, WORK


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    if not TEXTS.exists():
        library.write()
    photos.collect()
    if not SPEECH.exists():
        voices.record()
    if not TOKENIZER.exists():
        tokenizer.main()


if __name__ == "__main__":
    main()
