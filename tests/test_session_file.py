"""A session from disk goes on as if it had never stopped; a file that can't is refused in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_session import LAYERS, WORDS, assistant, conversation, user

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.shapes import tiny_config
from gemma4_mlx import api
from gemma4_mlx.checkpoint.load import load_model, open_model
from gemma4_mlx.engine import session_file
from gemma4_mlx.engine.memory import Budget
from gemma4_mlx.engine.session import Session
from gemma4_mlx.errors import DoesNotFitError, GemmaError
from gemma4_mlx.model.cache import SlidingCache
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor

OPTIONS: dict[str, Any] = {"temperature": 0, "eos_ids": (), "prefill_step_size": 16}


def make_model(folder: Path, seed: int = 0, **overrides: Any) -> Gemma4Unified:
    config = tiny_config(layer_types=LAYERS, **overrides)
    return load_model(write_checkpoint(folder / f"{seed}{len(overrides)}", config, seed=seed))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Gemma4Unified:
    return make_model(tmp_path_factory.mktemp("session_file"))


@pytest.fixture(scope="module")
def saved(model: Gemma4Unified, processor: Processor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    session = Session(model)
    talk(session, processor, conversation(2), 40)
    path = tmp_path_factory.mktemp("saved") / "talk.safetensors"
    session_file.save(session, path)
    return path


def talk(session: Session, processor: Processor, messages: list[dict[str, Any]], count: int) -> list[int]:
    pieces = api.stream_generate(session.model, processor, messages, session=session, max_tokens=count, **OPTIONS)
    return [piece.token for piece in pieces][:-1]


@pytest.mark.parametrize("limit", [1_000_000, 50_000])
def test_what_does_not_fit_stays_on_disk(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    model = open_model(write_checkpoint(tmp_path / "late", tiny_config(layer_types=LAYERS)))
    monkeypatch.setattr("gemma4_mlx.engine.session_file.budget", lambda _: Budget(limit, 0))
    monkeypatch.setattr(Gemma4Unified, "prepare", lambda _: pytest.fail("weights were read"))
    with pytest.raises(DoesNotFitError, match=r"tokens need \d+\.\d MB with plain caches, and "):
        session_file.load(model, saved)


@pytest.mark.parametrize("name", ["talk.safetensors", "talk"])
@pytest.mark.parametrize("kv", [{}, {"kv_bits": 8, "kv_group_size": 32}], ids=["plain", "8 bits"])
def test_resuming_goes_on_as_if_it_had_never_stopped(
    model: Gemma4Unified, processor: Processor, tmp_path: Path, name: str, kv: dict[str, int]
) -> None:
    straight, stopped = Session(model, **kv), Session(model, **kv)
    messages = conversation(2)
    for count in (3, 70):
        for session in (straight, stopped):
            talk(session, processor, messages, count)
        session_file.save(stopped, tmp_path / name)
        stopped = session_file.load(model, tmp_path / name, **kv)
        assert talk(stopped, processor, messages, count) == talk(straight, processor, messages, count)
        messages = [*messages, assistant(WORDS), user(WORDS)]
    assert stopped.reused == straight.reused > 100
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("bits", [None, 8])
def test_every_array_comes_back_bit_for_bit(
    bits: int | None, model: Gemma4Unified, processor: Processor, tmp_path: Path
) -> None:
    session = Session(model, bits)
    talk(session, processor, conversation(3), 50)
    session_file.save(session, tmp_path / "talk")
    loaded = session_file.load(model, tmp_path / "talk", bits)
    assert (loaded.ids, loaded.places) == (session.ids, session.places)
    assert [snapshot.position for snapshot in loaded.snapshots] == [snapshot.position for snapshot in session.snapshots]
    assert len(loaded.snapshots) == 2
    for mine, theirs in zip(session.snapshots, loaded.snapshots, strict=True):
        for window, its in zip(mine.windows, theirs.windows, strict=True):
            assert len(window) == len(its) == (1 if bits is None else 3)
            assert all(map(mx.array_equal, window, its))
    for mine, theirs in zip(session.caches, loaded.caches, strict=True):
        assert mine.offset == theirs.offset == len(session.ids)
        assert all(map(mx.array_equal, mine.saved(), theirs.saved()))
        if isinstance(mine, SlidingCache):
            assert mine.end == theirs.end


def test_changed_media_are_noticed_in_a_loaded_session(saved: Path, model: Gemma4Unified, processor: Processor) -> None:
    session, messages = session_file.load(model, saved), conversation(2)
    messages[0]["content"][0]["image"] = conversation(1)[0]["content"][0]["image"].__class__(
        messages[0]["content"][0]["image"].pixels ^ 1, messages[0]["content"][0]["image"].positions
    )
    prompt = processor.prompt(messages)
    session.read(prompt, len(prompt.ids), 16)
    assert session.reused <= prompt.spans[0].start


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_any_changed_byte_is_an_error(
    saved: Path, model: Gemma4Unified, tmp_path: Path, place: float, change: int
) -> None:
    data = bytearray(saved.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    for span in (header, len(data)):  # half of them in the header
        changed = bytearray(data)
        changed[int(place * span)] ^= change
        (tmp_path / "talk").write_bytes(changed)
        with pytest.raises(GemmaError, match=r"talk: (no whole session file|no session, where|gemma4_mlx session)"):
            session_file.load(model, tmp_path / "talk")


@pytest.mark.parametrize("size", [0, 7, 8, 100, 3000, -1, -5000])
def test_a_truncated_file_is_an_error(saved: Path, model: Gemma4Unified, tmp_path: Path, size: int) -> None:
    (tmp_path / "talk").write_bytes(saved.read_bytes()[:size])
    with pytest.raises(GemmaError, match=r"talk: no whole session file \(.*\); give another path, or delete it"):
        session_file.load(model, tmp_path / "talk")


def test_more_than_was_written_is_an_error(saved: Path, model: Gemma4Unified, tmp_path: Path) -> None:
    (tmp_path / "talk").write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(GemmaError, match="no whole session file"):
        session_file.load(model, tmp_path / "talk")


@pytest.mark.parametrize("change", [{"seed": 1}, {"rms_norm_eps": 1e-5}, {"sliding_window": 8}])
def test_another_model_is_an_error(saved: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    other = make_model(tmp_path, **change)
    with pytest.raises(GemmaError, match="made with another model or adapters; load those, or give another file"):
        session_file.load(other, saved)


def test_a_small_change_of_one_matrix_is_another_model(saved: Path, tmp_path: Path) -> None:
    same = make_model(tmp_path)
    session_file.load(same, saved)
    mlp = same.language_model.model.layers[1].mlp
    mlp.down_proj.weight = mlp.down_proj.weight * 1.001
    with pytest.raises(GemmaError, match="another model"):
        session_file.load(same, saved)


@pytest.mark.parametrize(("bits", "group"), [(8, 64), (4, 32)])
def test_other_settings_of_the_caches_are_an_error(saved: Path, model: Gemma4Unified, bits: int, group: int) -> None:
    with pytest.raises(GemmaError, match="its caches have kv_bits none; ask for the same, or give another file"):
        session_file.load(model, saved, bits, group)
    assert session_file.kv_settings(saved) == (None, 64)


@pytest.mark.parametrize("metadata", [None, {"format": "mlx"}, {"format": "gemma4_mlx session 9"}])
def test_other_files_are_refused_whatever_they_are(
    model: Gemma4Unified, tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "model.safetensors"
    mx.save_safetensors(str(path), {"weight": mx.zeros((4,))}, metadata)
    for call in (lambda: session_file.load(model, path), lambda: session_file.kv_settings(path)):
        with pytest.raises(GemmaError, match=r"where 'gemma4_mlx session 2' is expected; give another path"):
            call()


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, (4).to_bytes(8, "little") + b"[[[["])
def test_junk_is_an_error(model: Gemma4Unified, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk"
    path.write_bytes(content)
    with pytest.raises(GemmaError, match="talk: "):
        session_file.load(model, path)


def test_well_checksummed_rows_of_another_shape_are_an_error(saved: Path, model: Gemma4Unified, tmp_path: Path) -> None:
    tensors, metadata = mx.load(str(saved), return_metadata=True)
    tensors["layer.0.0"] = tensors["layer.0.0"][:, :1]
    mx.save_safetensors(str(tmp_path / "talk.safetensors"), tensors, metadata | {"checksum": "0" * 64})
    session_file._write_checksum(tmp_path / "talk.safetensors")
    with pytest.raises(GemmaError, match=r"no whole session file \(rows .* are expected\)"):
        session_file.load(model, tmp_path / "talk.safetensors")


def test_missing_file_folder_and_content(model: Gemma4Unified, tmp_path: Path) -> None:
    with pytest.raises(GemmaError, match="talk: there is no such file"):
        session_file.load(model, tmp_path / "talk")
    with pytest.raises(GemmaError, match="nothing was read yet"):
        session_file.save(Session(model), tmp_path / "talk")
    session = Session(model)
    session.ids = [1]
    with pytest.raises(GemmaError, match="there is no folder"):
        session_file.save(session, tmp_path / "nowhere" / "talk")


def test_a_failed_write_leaves_the_old_file(
    saved: Path, model: Gemma4Unified, processor: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk"
    path.write_bytes(saved.read_bytes())
    session = session_file.load(model, path)
    talk(session, processor, conversation(2), 3)
    for name, place in (("save_safetensors", mx), ("replace", os)):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, _no_space)
            with pytest.raises(GemmaError, match=r"can't be written \(.*No space left.*\); is the disk full\?"):
                session_file.save(session, path)
        assert path.read_bytes() == saved.read_bytes()
        assert list(tmp_path.iterdir()) == [path]


def _no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_the_header_says_what_is_inside(saved: Path) -> None:
    data = saved.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    state = json.loads(header["__metadata__"]["state"])
    assert [place[0] for place in state["places"]] == ["image", "audio"]
    assert all(len(place[3]) == 64 for place in state["places"])
    assert np.prod(header["ids"]["shape"]) > 100


Forgery = Callable[[dict[str, mx.array], dict[str, str]], Any]


def state(**changes: Any) -> Forgery:
    return lambda _, metadata: metadata.update(state=json.dumps(json.loads(metadata["state"]) | changes))


def metadata(**changes: str) -> Forgery:
    return lambda _, metadata: metadata.update(changes)


def ids(change: Callable[[mx.array], mx.array]) -> Forgery:
    return lambda tensors, _: tensors.update(ids=change(tensors["ids"]))


DIGEST = "0" * 64
FORGED: dict[str, Forgery] = {
    "ids too large": ids(lambda ids: ids + 5000),
    "ids below zero": ids(lambda ids: ids - 5000),
    "ids of another kind": ids(lambda ids: ids.astype(mx.float32)),
    "ids in a table": ids(lambda ids: ids[None]),
    "no ids": ids(lambda ids: ids[:0]),
    "more ids than rows": ids(lambda ids: mx.concatenate([ids, ids])),
    "more ids than the context": ids(lambda ids: mx.zeros((2**18,), mx.int32)),
    "half a place": state(places=[["image", 1.5, 4, DIGEST]]),
    "place that is text": state(places=[["image", "1", "4", DIGEST]]),
    "place outside": state(places=[["image", 1, 10**9, DIGEST]]),
    "place that is empty": state(places=[["image", 4, 4, DIGEST]]),
    "places that cross": state(places=[["image", 1, 9, DIGEST], ["image", 5, 12, DIGEST]]),
    "place of nothing": state(places=[["film", 1, 4, DIGEST]]),
    "place without a checksum": state(places=[["image", 1, 4, None]]),
    "places that are a number": state(places=3),
    "short place": state(places=[["image"]]),
    "half a snapshot": state(snapshots=[1.5]),
    "snapshot outside": state(snapshots=[10**9]),
    "snapshots out of order": state(snapshots=[9, 3]),
    "many snapshots": state(snapshots=list(range(1, 99))),
    "snapshots that are text": state(snapshots="12"),
    "state that is a list": metadata(state="[]"),
    "no state": lambda _, metadata: metadata.pop("state"),
    "no caches": lambda _, metadata: metadata.pop("kv"),
    "caches of text": metadata(kv='["8", 64]'),
    "caches of half bits": metadata(kv="[4.5, 64]"),
    "caches of no group": metadata(kv="[8, 0]"),
    "deep state": metadata(state="[" * 100_000),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_session_with_a_right_checksum_is_refused(
    name: str, saved: Path, model: Gemma4Unified, tmp_path: Path
) -> None:
    tensors, described = mx.load(str(saved), return_metadata=True)
    FORGED[name](tensors, described)
    path = tmp_path / "talk.safetensors"
    mx.save_safetensors(str(path), tensors, described | {"checksum": "0" * 64})
    session_file._write_checksum(path)
    with pytest.raises(GemmaError, match=r"talk\.safetensors: (no whole session file|its caches have)") as error:
        session_file.load(model, path)
    assert "\n" not in str(error.value)


def test_a_session_of_another_model_that_does_not_say_so(saved: Path, model: Gemma4Unified, tmp_path: Path) -> None:
    tensors, described = mx.load(str(saved), return_metadata=True)
    del described["model"]
    path = tmp_path / "talk.safetensors"
    mx.save_safetensors(str(path), tensors, described | {"checksum": "0" * 64})
    session_file._write_checksum(path)
    with pytest.raises(GemmaError, match="made with another model"):
        session_file.load(model, path)


def test_rows_that_are_no_numbers_end_the_reply(
    saved: Path, model: Gemma4Unified, processor: Processor, tmp_path: Path
) -> None:
    tensors, described = mx.load(str(saved), return_metadata=True)
    tensors |= {name: rows * float("nan") for name, rows in tensors.items() if name.startswith("layer.")}
    path = tmp_path / "talk.safetensors"
    mx.save_safetensors(str(path), tensors, described | {"checksum": "0" * 64})
    session_file._write_checksum(path)
    with pytest.raises(GemmaError, match="the model's logits are not finite numbers"):
        talk(session_file.load(model, path), processor, [*conversation(2), assistant(WORDS), user(WORDS)], 3)


def test_a_pipe_and_a_device_are_refused_at_once(model: Gemma4Unified, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "talk")
    for path in (tmp_path / "talk", Path("/dev/zero")):
        for call in (session_file.kv_settings, lambda path: session_file.load(model, path)):
            with pytest.raises(GemmaError, match="a device or a pipe; give an ordinary file"):
                call(path)
