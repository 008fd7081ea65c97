"""Makes the files beside it anew from transformers: `python -m tests.golden.make`, in the environment README.md names.

Weights and media are random or drawn here, all from fixed seeds. Every figure is computed in float64, in one pass over
the whole sequence, with the masks of transformers' `create_masks_for_generate`.
"""

import itertools
import json
import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import (
    AutoProcessor,
    Gemma4UnifiedAssistantConfig,
    Gemma4UnifiedAssistantForCausalLM,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
)
from transformers.video_utils import load_video

from benchmarks.shapes import generation_config, make_config, override, processor_config, with_token_ids
from benchmarks.small_tokenizer import train_tokenizer, write_tokenizer

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent.parent / "train_nano" / "chat_template.jinja"
PATCH = 48 * 48 * 3
VOCABULARY = 448
GREEDY = {"text": 24}
"""Tokens of the greedy reply, 12 where nothing else is said."""

MARGIN = 1e-3
"""The least distance between the best two logits of a greedy step: rounding must not decide it."""

STRIDE = {"image": 397, "video": 1009}
"""Every how manieth number of all patches is kept; primes, so that all places in a patch are met."""

BUDGETS = (70, 280, 1120)
DRAFTS = 4
PICTURES = {"wide": (400, 90), "tall": (60, 260), "big": (900, 640), "tiny": (9, 7), "strip": (610, 8)}
"""Pixels of each image, (width, height)."""

CASES = {
    "text": ["text 61"],
    "image": ["text 5", "image a", "text 3", "image b", "text 21"],
    "image_first": ["image a", "text 24"],
    "images_touching": ["text 4", "image b", "image b", "text 20"],
    "audio": ["text 8", "audio x", "text 19"],
    "two_clips": ["text 3", "audio x", "text 4", "audio y", "text 18"],
    "video": ["text 4", "video f0", "text 2", "video f1", "text 2", "video f2", "text 17"],
    "mixed": ["text 6", "image a", "text 9", "audio y", "text 5", "video f1", "text 22", "image b", "text 11"],
}
"""Prompts, in pieces: random tokens, or a medium by name. Image a and frame f1 are longer than the window of 16."""

GRIDS = {"a": (6, 3), "b": (2, 3), "f0": (3, 2), "f1": (6, 3), "f2": (3, 2)}
"""Patches of images and frames, (columns, rows)."""

CLIPS = {"x": 23, "y": 9}
"""Frames of 640 samples."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Forecast for a place",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A town"},
                "days": {"type": "integer", "description": "How far ahead"},
                "scale": {"type": "string", "enum": ["C", "F"], "description": "Of the degrees"},
            },
            "required": ["place"],
        },
    },
}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


IMAGE, AUDIO, VIDEO = ({"type": kind} for kind in ("image", "audio", "video"))
CALL = {"id": "c1", "type": "function"}
CALL |= {"function": {"name": "get_weather", "arguments": {"place": 'Ulm {}, "x"', "days": 2}}}
CONVERSATIONS: dict[str, dict[str, Any]] = {
    "plain": {"messages": [user(text("Where did the boat go?"))]},
    "other_scripts": {"messages": [user(text("Fährt er um 7:45 Uhr? \N{SNOWMAN}\n\n  Ja\tна север 北へ"))]},
    "system": {
        "messages": [
            {"role": "system", "content": "Answer in a word."},
            user(text("One and one?")),
            assistant("Two."),
            user(text("And one more?\nThink.")),
        ]
    },
    "thinking": {
        "messages": [{"role": "system", "content": "Be kind."}, user(text("Why do boats float?"))],
        "enable_thinking": True,
    },
    "thought_history": {
        "messages": [
            user(text("Hello")),
            assistant("<|channel>thought\nA greeting.\n<channel|>Good morning"),
            user(text("And now?")),
        ]
    },
    "image": {"messages": [user(IMAGE, text("What is in this picture?"))], "images": ["wide.png"]},
    "two_images_audio": {
        "messages": [user(IMAGE, IMAGE, text("Which one is spoken of?"), AUDIO)],
        "images": ["tall.png", "tiny.png"],
        "audio": ["tone.wav"],
    },
    "later_image": {
        "messages": [user(text("Hello")), assistant("Good morning"), user(IMAGE, text("And this?"))],
        "images": ["big.png"],
    },
    "video": {"messages": [user(VIDEO, text("What moves?"))], "videos": ["film.mp4"]},
    "tools": {"messages": [user(text("Rain in Ulm?"))], "tools": [WEATHER]},
    "tool_round": {
        "messages": [
            user(text("Rain in Ulm?")),
            assistant("", tool_calls=[CALL]),
            {"role": "tool", "tool_call_id": "c1", "content": "12 C, dry"},
        ],
        "tools": [WEATHER],
    },
}

PUBLISHED = {
    "hidden": 3840,
    "mlp": 15360,
    "heads": 16,
    "head_dim": 256,
    "kv_heads": 8,
    "global_head_dim": 512,
    "window": 1024,
}
PUBLISHED_TEXT = {"num_hidden_layers": 48, "vocab_size": 262144, "max_position_embeddings": 262144}
PUBLISHED_TEXT |= {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
PUBLISHED_IDS = {
    "audio_token_id": 258881,
    "boa_token_id": 256000,
    "boi_token_id": 255999,
    "eoa_token_index": 258883,
    "eoi_token_id": 258882,
    "eos_token_id": [1, 106],
    "image_token_id": 258880,
    "video_token_id": 258884,
}


def main() -> None:
    """Writes everything."""
    for name in ("model", "drafter", "media"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
    write_media(HERE / "media")
    write_published()
    config = fixture_config()
    model = build(Gemma4UnifiedForConditionalGeneration, Gemma4UnifiedConfig.from_dict(config), HERE / "model")
    drafter = build(
        Gemma4UnifiedAssistantForCausalLM, Gemma4UnifiedAssistantConfig(**drafter_config(config)), HERE / "drafter"
    )
    write_outputs(model, drafter)
    write_sidecars(HERE / "model")
    write_prompts(AutoProcessor.from_pretrained(HERE / "model"))
    for path in HERE.rglob("*.safetensors"):
        path.chmod(0o644)


def fixture_config() -> dict[str, Any]:
    """A model of six layers, two of them full ones with K = V."""
    config = make_config(hidden=32, mlp=64, heads=4, head_dim=16, kv_heads=2, global_head_dim=32, window=16)
    config = override(with_token_ids(config, train_tokenizer(VOCABULARY)))
    kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 2
    vision = config["vision_config"] | {"mm_embed_dim": 16, "output_proj_dims": 16, "mm_posemb_size": 40}
    return override(config, layer_types=kinds) | {"vision_config": vision, "dtype": "float32"}


def drafter_config(target: dict[str, Any]) -> dict[str, Any]:
    """Two sliding layers and a full one, narrower than the target."""
    text = target["text_config"]
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    own = {"hidden_size": 24, "intermediate_size": 40, "layer_types": kinds, "num_hidden_layers": 3}
    own |= {"num_kv_shared_layers": 3, "final_logit_softcapping": None}
    return {"backbone_hidden_size": text["hidden_size"], "text_config": text | own, "dtype": "float32"}


def build(kind: type, config: Any, folder: Path) -> Any:
    """A model of random weights, written in float32, to be computed with in float64."""
    config._attn_implementation = "eager"
    with float64():
        model = kind(config).eval()
    state = model.state_dict()
    tied = {name for name in state if name.startswith("lm_head")}
    for number, name in enumerate(sorted(state.keys() - tied)):
        values = random_weights(name, tuple(state[name].shape), np.random.default_rng(number))
        state[name].copy_(torch.from_numpy(values.astype(np.float32)))
    model.tie_weights()
    model.to(torch.float32).save_pretrained(folder)
    model.to(torch.float64)
    with float64():
        restore_frequencies(model)
    return model


def restore_frequencies(model: Any) -> None:
    """Rotary frequencies in float64 again: `to` has rounded them."""
    for module in model.modules():
        for kind, make in getattr(module, "rope_init_fns", {}).items():
            exact, _ = make(module.config.per_layer_config[kind], layer_type=kind)
            setattr(module, f"{kind}_inv_freq", torch.nn.Buffer(exact.to(torch.float64), persistent=False))


def random_weights(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Numbers that keep activations near 1, so that rounding is not amplified from layer to layer."""
    if name.endswith("layer_scalar"):
        return random.uniform(0.6, 1.0, shape)
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return random.normal(0.5, 0.05, shape)
    if name.endswith(("norm.weight", "layernorm.weight", "_ln1.weight", "_ln2.weight")):
        return random.normal(1, 0.1, shape)
    if name.endswith("pos_embedding"):
        return random.normal(0, 0.3, shape)
    return random.normal(0, 0.1 if len(shape) == 1 else shape[-1] ** -0.5, shape)


@contextmanager
def float64() -> Iterator[None]:
    """What transformers does in float32 for accuracy happens in float64."""
    kept = torch.float, torch.float32, torch.Tensor.float
    torch.float = torch.float32 = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.float, torch.float32, torch.Tensor.float = kept
        torch.set_default_dtype(torch.float32)


def write_outputs(model: Any, drafter: Any) -> None:
    """Logits, greedy replies and drafts of every case, and the media they have in common."""
    media = random_media()
    kept: dict[str, np.ndarray] = dict(media)
    with torch.inference_mode(), float64():
        for name, pieces in CASES.items():
            inputs = case_inputs(pieces, media)
            ids, greedy = clear_prompt(model, pieces, inputs, GREEDY.get(name, 12))
            kept[f"{name}.input_ids"] = np.array(ids, np.int32)
            kept[f"{name}.logits"] = forward(model, ids, inputs).logits[0].numpy().astype(np.float32)
            kept[f"{name}.greedy"] = np.array(greedy, np.int32)
        for name in ("text", "mixed"):
            ids, token = kept[f"{name}.input_ids"].tolist(), int(kept[f"{name}.greedy"][0])
            kept[f"{name}.drafts"] = drafts(model, drafter, ids, case_inputs(CASES[name], media), token)
    save_file(kept, HERE / "outputs.safetensors")
    (HERE / "outputs.json").write_text(json.dumps(CASES, indent=1) + "\n", encoding="utf-8")


def random_media() -> dict[str, np.ndarray]:
    """Patches (n, 6912) in 0..255 with positions (n, 2) as x, y; sound (n, 640) in 16 bits."""
    random, media = np.random.default_rng(0), {}
    for name, (columns, rows) in GRIDS.items():
        y, x = np.divmod(np.arange(columns * rows), columns)
        media[f"media.{name}.pixels"] = random.integers(0, 256, (columns * rows, PATCH), dtype=np.uint8)
        media[f"media.{name}.positions"] = np.stack([x, y], axis=1).astype(np.int32)
    for name, frames in CLIPS.items():
        media[f"media.{name}.frames"] = random.normal(0, 3000, (frames, 640)).astype(np.int16)
    return media


def case_ids(config: Any, pieces: list[str], random: np.random.Generator) -> list[int]:
    """Token ids of a prompt, media as placeholders."""
    ids: list[int] = []
    for kind, what in map(str.split, pieces):
        if kind == "text":
            ids += random.integers(300, VOCABULARY, int(what)).tolist()
        else:
            count = CLIPS[what] if kind == "audio" else GRIDS[what][0] * GRIDS[what][1]
            ids += [placeholders(config)[kind]] * count
    return ids


def placeholders(config: Any) -> dict[str, int]:
    """Token ids that stand for media, in the order of their types."""
    return {"image": config.image_token_id, "video": config.video_token_id, "audio": config.audio_token_id}


def case_inputs(pieces: list[str], media: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """A prompt's media in the processor's layout: padded, one row a medium."""
    named: dict[str, list[str]] = {"image": [], "audio": [], "video": []}
    for kind, what in map(str.split, pieces):
        if kind != "text":
            named[kind].append(what)
    found: dict[str, torch.Tensor] = {}
    for kind, pixels, positions in (
        ("image", "pixel_values", "image_position_ids"),
        ("video", "pixel_values_videos", "video_position_ids"),
    ):
        if named[kind]:
            found[pixels] = padded([media[f"media.{name}.pixels"] / 255.0 for name in named[kind]], 0)
            found[positions] = padded([media[f"media.{name}.positions"] for name in named[kind]], -1)
    if named["video"]:
        found["num_frames_per_video"] = torch.tensor([len(named["video"])])
    if named["audio"]:
        clips = [media[f"media.{name}.frames"] / 32768.0 for name in named["audio"]]
        found["input_features"] = padded(clips, 0)
        found["input_features_mask"] = padded([np.ones(len(clip), bool) for clip in clips], 0)
    return found


def padded(arrays: list[np.ndarray], value: float) -> torch.Tensor:
    """Arrays of several lengths as one."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def forward(model: Any, ids: list[int], inputs: dict[str, torch.Tensor], **options: Any) -> Any:
    """One pass over the whole sequence, without a cache, with the masks that `generate` would make for it."""
    tokens, config = torch.tensor([ids]), model.config
    kinds = torch.zeros_like(tokens)
    for number, token in enumerate(placeholders(config).values(), 1):
        kinds[tokens == token] = number
    masks = model.create_masks_for_generate(
        config=config,
        inputs_embeds=torch.zeros(1, len(ids), config.text_config.hidden_size, dtype=torch.float64),
        attention_mask=None,
        cache=None,
        position_ids=torch.arange(len(ids))[None],
        mm_token_type_ids=kinds,
    )
    return model(input_ids=tokens, attention_mask=masks, use_cache=False, **inputs, **options)


def clear_prompt(
    model: Any, pieces: list[str], inputs: dict[str, torch.Tensor], count: int
) -> tuple[list[int], list[int]]:
    """Token ids of the first seed whose greedy reply rounding can't change, and that reply."""
    for seed in itertools.count():
        ids = case_ids(model.config, pieces, np.random.default_rng(seed))
        if greedy := reply(model, ids, inputs, count):
            return ids, greedy
    raise AssertionError


def reply(model: Any, ids: list[int], inputs: dict[str, torch.Tensor], count: int) -> list[int] | None:
    """The greedy reply, each token from a pass over everything before it; None if it is close, or not all text."""
    tokens: list[int] = []
    while len(tokens) < count:
        best = torch.topk(forward(model, ids + tokens, inputs).logits[0, -1], 2)
        tokens.append(int(best.indices[0]))
        if best.values[0] - best.values[1] < MARGIN or tokens[-1] in placeholders(model.config).values():
            return None
    return tokens


def drafts(model: Any, drafter: Any, ids: list[int], inputs: dict[str, torch.Tensor], token: int) -> np.ndarray:
    """Logits (DRAFTS, vocabulary) of guesses after a token that follows the prompt, as the drafter is driven there."""
    read = forward(model, ids, inputs, output_hidden_states=True, return_shared_kv_states=True)
    hidden, found = read.hidden_states[-1][:, -1:], []
    for _ in range(DRAFTS):
        embedded = model.get_input_embeddings()(torch.tensor([[token]]))
        step = drafter(
            inputs_embeds=torch.cat([embedded, hidden], dim=-1),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            position_ids=torch.tensor([[len(ids)]]),
            shared_kv_states=read.shared_kv_states,
        )
        found.append(step.logits[0, 0].numpy().astype(np.float32))
        token, hidden = int(step.logits.argmax()), step.last_hidden_state
    return np.array(found)


def write_sidecars(folder: Path) -> None:
    """Puts tokenizer, template and processor settings beside the weights."""
    train_tokenizer(VOCABULARY).save(str(folder / "small.json"))
    backend = write_tokenizer(folder, folder / "small.json")
    (folder / "small.json").unlink()
    for name, content in (
        ("generation_config.json", generation_config(backend)),
        ("processor_config.json", processor_config()),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(TEMPLATE, folder / "chat_template.jinja")


def write_media(folder: Path) -> None:
    """Images of soft shades and hard edges, a tone, and a slow film."""
    for number, (name, size) in enumerate(PICTURES.items()):
        Image.fromarray(draw(*size, number)).save(folder / f"{name}.png", optimize=True)
    with wave.open(str(folder / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        wanted = np.sin(np.arange(12345) * (2 * np.pi * 440 / 16000)) * 12000
        file.writeframes(wanted.astype("<i2").tobytes())
    write_film(folder / "film.mp4")


def draw(width: int, height: int, seed: int) -> np.ndarray:
    """A shaded ground with rectangles of one colour."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    sheet = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=-1)
    for _ in range(6):
        left, top = int(random.integers(0, width)), int(random.integers(0, height))
        sheet[top : top + height // 4 + 1, left : left + width // 5 + 1] = random.integers(0, 256, 3)
    return sheet.astype(np.uint8)


def write_film(path: Path) -> None:
    """40 frames in 80 seconds, of which 32 are taken: times need minutes, and frames are left out."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(1, 2), options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(40):
            sheet = draw(96, 64, 9)
            sheet[8:40, 2 * number : 2 * number + 16] = (number * 6, 200, 90)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(sheet, format="rgb24")))
        file.mux(stream.encode())


def write_prompts(processor: Any) -> None:
    """Patches of each image at each budget, the film's frames, and the prompts of conversations."""
    facts: dict[str, Any] = {"patches": {}, "prompts": {}}
    tensors: dict[str, np.ndarray] = {}
    for name in PICTURES:
        for budget in BUDGETS:
            made = processor.image_processor(
                Image.open(HERE / "media" / f"{name}.png"), max_soft_tokens=budget, return_tensors="np"
            )
            keep_patches(tensors, facts, f"{name}.png.{budget}", made, "image")
    film, found = load_film("film.mp4")
    made = processor.video_processor(film, video_metadata=found, return_tensors="np")
    keep_patches(tensors, facts, "film.mp4", made, "video")
    for name, conversation in CONVERSATIONS.items():
        tensors[f"prompt.{name}"], written = prompt(processor, conversation)
        facts["prompts"][name] = conversation | {"text": written}
    save_file(tensors, HERE / "prompts.safetensors")
    (HERE / "prompts.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep_patches(tensors: dict[str, np.ndarray], facts: dict[str, Any], key: str, made: Any, kind: str) -> None:
    """Positions of what is no padding, and some of its pixels times 255."""
    pixels, positions = (
        np.asarray(made[name])
        for name in (
            ("pixel_values", "image_position_ids") if kind == "image" else ("pixel_values_videos", "video_position_ids")
        )
    )
    valid = positions[..., 0] >= 0
    facts["patches"][key] = {"count": int(valid.sum()), "every": STRIDE[kind]}
    tensors[f"{key}.positions"] = positions[valid].astype(np.int16)
    tensors[f"{key}.pixels"] = np.rint(pixels[valid].reshape(-1)[:: STRIDE[kind]] * 255).astype(np.uint8)


def prompt(processor: Any, conversation: dict[str, Any]) -> tuple[np.ndarray, str]:
    """Token ids with placeholders in place, and the text before that."""
    written = processor.apply_chat_template(
        conversation["messages"],
        tools=conversation.get("tools"),
        enable_thinking=conversation.get("enable_thinking", False),
        add_generation_prompt=True,
        tokenize=False,
    )
    media: dict[str, Any] = {}
    if "images" in conversation:
        media["images"] = [Image.open(HERE / "media" / name) for name in conversation["images"]]
    if "audio" in conversation:
        media["audio"] = [read_wave(name) for name in conversation["audio"]]
    if "videos" in conversation:
        films = [load_film(name) for name in conversation["videos"]]
        media |= {"videos": [film for film, _ in films], "video_metadata": [found for _, found in films]}
    ids = processor(text=[written], **media, add_special_tokens=False)["input_ids"][0]
    return np.array(ids, np.int32), written


def read_wave(name: str) -> np.ndarray:
    """Samples in -1..1."""
    with wave.open(str(HERE / "media" / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def load_film(name: str) -> tuple[Any, Any]:
    """All frames, and what is known of them."""
    return load_video(str(HERE / "media" / name), backend="pyav")


def write_published() -> None:
    """The published 12B as numbers: its configuration, and the name and shape of every tensor."""
    config = override(make_config(**PUBLISHED), **PUBLISHED_TEXT)
    config |= PUBLISHED_IDS
    with torch.device("meta"):
        model = Gemma4UnifiedForConditionalGeneration(Gemma4UnifiedConfig.from_dict(config))
    shapes = {
        hub_name(name): list(tensor.shape) for name, tensor in model.state_dict().items() if "lm_head" not in name
    }
    content = json.dumps({"config": config, "tensors": shapes})
    (HERE / "published.json").write_text(content + "\n", encoding="utf-8")


def hub_name(name: str) -> str:
    """What a tensor is called in a file: transformers has moved the embedders since."""
    moved = name.replace("model.embed_vision.", "model.vision_embedder.")
    return moved.replace("model.vision_embedder.multimodal_embedder.", "model.embed_vision.")


if __name__ == "__main__":
    main()
