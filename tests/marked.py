"""Text in which control tokens are written out, as token ids."""

from gemma4_mlx.prompt.processor import Processor


def ids_of(processor: Processor, marked: str) -> list[int]:
    """The ids of a text whose control tokens count as such: "<|turn>user" is two tokens."""
    return [
        id
        for control, text in processor.tokenizer.pieces(marked)
        for id in ([control] if control is not None else processor.tokenizer.encode(text))
    ]
