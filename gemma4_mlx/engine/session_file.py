"""Sessions on disk: safetensors with everything that must hold for a session to go on as if it had never stopped.

The checksum in the header is the SHA-256 of the whole file with zeros in the checksum's own place, so a change of any
byte is noticed, be it of a number, a name or a size.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, get_args

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import TextConfig
from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.engine.memory import Budget, budget, kept_to
from gemma4_mlx.engine.plan import check, need
from gemma4_mlx.engine.session import Session, Snapshot
from gemma4_mlx.errors import GemmaError, is_whole, one_line, shortened
from gemma4_mlx.files import open_regular, write_atomically
from gemma4_mlx.model.cache import Cache, SlidingCache
from gemma4_mlx.model.disk import disk, read
from gemma4_mlx.model.fingerprint import fingerprint
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import MediaKind, Place

FORMAT = "gemma4_mlx session 2"
NO_CHECKSUM = "0" * 64
LONGEST_HEADER = 1 << 22
MOST_SNAPSHOTS = 16
BLOCK = 1 << 22
"""Bytes read at once."""


def save(session: Session, path: str | Path) -> None:
    """Writes a session; a file that is there is replaced only once the new one is whole.

    What the caches do not hold, such as a reply's last token, is left out and will be read again. Raises GemmaError
    where there is nothing to save, or no room for it, or while a reply has not ended.
    """

    def write(part: Path) -> None:
        mx.save_safetensors(str(part), _tensors(session), _metadata(session))
        _write_checksum(part)

    with session.in_use():
        session.go_back(session.held)
        if not session.ids:
            raise GemmaError(f"{path}: not written, as nothing was read yet")
        write_atomically(path, write, private=True, ending=".safetensors")


def load(
    model: Gemma4Unified,
    path: str | Path,
    kv_bits: int | None = None,
    kv_group_size: int = 64,
    longest: int | None = None,
    memory_limit: str | None = None,
) -> Session:
    """The session of a file, to go on with; the arguments are those of `Session`, and GenerationOptions' memory_limit.

    Weights of the model that are still on disk are read. Raises GemmaError where the file is damaged, or belongs to
    another model or other settings of the caches; DoesNotFitError, before any weights are read, if they leave no room
    for the positions in the file.
    """
    path = Path(path).expanduser()
    header = _verified(path)
    kept = _kv_settings(path, header["__metadata__"])
    if kept != (kv_bits, kv_group_size if kv_bits else kept[1]):
        raise GemmaError(
            f"{path}: its caches have {_kv_words(*kept)}; ask for the same, or give another file",
            arguments=["kv_bits"],
        )
    _read_weights(model, _positions(path, header, model.config.text), *kept, budget(memory_limit))
    if header["__metadata__"].get("model") != fingerprint(model):
        raise GemmaError(f"{path}: made with another model or adapters; load those, or give another file")
    session = Session(model, kv_bits, kept[1], longest)
    with _problems_named(path):
        tensors = mx.load(str(path), format="safetensors", stream=disk())
        assert isinstance(tensors, dict)
        _fill(session, tensors, json.loads(header["__metadata__"]["state"]))
    return session


def _read_weights(
    model: Gemma4Unified, positions: int, kv_bits: int | None, kv_group_size: int, allowed: Budget
) -> None:
    """Prepares the model, within the limits of a plan for so many positions. Raises DoesNotFitError before it reads."""
    wanted = need(model, None, chunk=1, kv_group_size=kv_group_size, limit=allowed.limit, reserve=allowed.reserve)
    with kept_to(check(wanted, wanted.plan(positions, kv_bits)), unread=wanted.weights), device_errors_named():
        model.prepare()


def kv_settings(path: str | Path) -> tuple[int | None, int]:
    """Bits (None for plain rows) and group size of the caches in a file, from its header alone."""
    path = Path(path).expanduser()
    with _problems_named(path), open_regular(path) as file:
        return _kv_settings(path, _header(path, _read_header(path, file))["__metadata__"])


def _tensors(session: Session) -> dict[str, mx.array]:
    tensors = {"ids": mx.array(session.ids, dtype=mx.int32)}
    for layer, cache in enumerate(session.caches):
        tensors |= {f"layer.{layer}.{part}": array for part, array in enumerate(cache.saved())}
    for index, snapshot in enumerate(session.snapshots):
        for layer, window in enumerate(snapshot.windows):
            tensors |= {f"snapshot.{index}.{layer}.{part}": array for part, array in enumerate(window)}
    return tensors


def _metadata(session: Session) -> dict[str, str]:
    state = {
        "places": [astuple(place) for place in session.places],
        "snapshots": [snapshot.position for snapshot in session.snapshots],
    }
    return {
        "checksum": NO_CHECKSUM,
        "format": FORMAT,
        "kv": json.dumps([session.kv_bits, session.kv_group_size]),
        "model": fingerprint(session.model),
        "state": json.dumps(state),
    }


def _fill(session: Session, tensors: Mapping[str, mx.array], state: Mapping[str, Any]) -> None:
    """Puts what was saved into an empty session. Raises ValueError or KeyError where it does not fit."""
    read(tensors["ids"])
    ids = _checked_ids(tensors["ids"], session.model.config.text)
    places = _checked_places(state["places"], len(ids))
    positions = _checked_positions(state["snapshots"], len(ids))
    session.make_room(len(ids))
    model = session.model
    model(model.embed([0]), session.caches)  # its values are written over: it gives the buffers their shapes and types
    for layer, cache in enumerate(session.caches):
        saved = _parts(tensors, f"layer.{layer}", cache, len(ids))
        read(saved)
        cache.restore(saved, len(ids))
        mx.eval(cache.arrays())
    session.ids, session.places = ids, places
    sliding = [cache for cache in session.caches if isinstance(cache, SlidingCache)]
    for index, position in enumerate(positions):
        windows = [_parts(tensors, f"snapshot.{index}.{layer}", cache, position) for layer, cache in enumerate(sliding)]
        read(windows)
        session.snapshots.append(Snapshot(position, windows))


def _checked_ids(ids: mx.array, config: TextConfig) -> list[int]:
    """Ids that the model has. Raises ValueError: any others would be looked up outside of its embedding."""
    if ids.ndim != 1 or ids.dtype != mx.int32 or not 0 < ids.size <= config.max_position_embeddings:
        raise ValueError(f"ids {ids.dtype} {ids.shape}")
    found: list[int] = np.array(ids).tolist()
    if not 0 <= min(found) <= max(found) < config.vocab_size:
        raise ValueError(f"ids from {min(found)} to {max(found)}, and the vocabulary has {config.vocab_size}")
    return found


def _checked_places(given: Any, length: int) -> list[Place]:
    """Media that lie one after another in so many positions. Raises TypeError or ValueError."""
    places, end = [Place(*place) for place in given], 0
    for place in places:
        numbers = is_whole(place.start, end) and is_whole(place.stop, 1, length)
        if not numbers or place.start >= place.stop or place.kind not in get_args(MediaKind):
            raise ValueError(f"media from {place.start!r} to {place.stop!r}")
        if not isinstance(place.digest, str) or len(place.digest) != len(NO_CHECKSUM):
            raise ValueError("media without their checksum")
        end = place.stop
    return places


def _checked_positions(given: Any, length: int) -> list[int]:
    """Positions of snapshots, in order. Raises TypeError or ValueError."""
    known = [0, *given]
    if len(known) > MOST_SNAPSHOTS + 1 or not all(
        is_whole(position, before + 1, length) for before, position in pairwise(known)
    ):
        raise ValueError(f"snapshots at {shortened(repr(given))}")
    return known[1:]


def _parts(tensors: Mapping[str, mx.array], name: str, cache: Cache, offset: int) -> list[mx.array]:
    """A cache's rows in a file. Raises KeyError, or ValueError for rows of another shape or type, or fewer than the
    cache needs at `offset`."""
    saved = [tensors[f"{name}.{part}"] for part in range(len(cache.arrays()))]
    fewest = min(offset, cache.past) if isinstance(cache, SlidingCache) else offset
    for buffer, rows in zip(cache.arrays(), saved, strict=True):
        batch, heads, capacity, width = buffer.shape
        fits = rows.dtype == buffer.dtype and rows.ndim == 4 and fewest <= rows.shape[2] <= capacity
        if not fits or rows.shape != (batch, heads, rows.shape[2], width):
            raise ValueError(f"rows {rows.shape} where {buffer.shape} are expected")
    return saved


def _write_checksum(path: Path) -> None:
    with path.open("r+b") as file:
        text = _read_header(path, file)
        checksum = _checksum(text, file)
        file.seek(8 + text.index(NO_CHECKSUM.encode()))
        file.write(checksum.encode())


def _verified(path: Path) -> dict[str, Any]:
    """The header of a file that is whole."""
    with _problems_named(path), open_regular(path) as file:
        text = _read_header(path, file)
        header = _header(path, text)
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        size, whole = path.stat().st_size, 8 + len(text) + end
        if size != whole:
            raise ValueError(f"{size} bytes of {whole}")
        checksum = header["__metadata__"]["checksum"].encode()
        if _checksum(text.replace(checksum, NO_CHECKSUM.encode(), 1), file) != checksum.decode():
            raise ValueError("the checksum is another one")
        return header


def _read_header(path: Path, file: IO[bytes]) -> bytes:
    """The header's text; the file is left at its end."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(path.stat().st_size - 8, LONGEST_HEADER):
        raise ValueError("no header")
    return file.read(length)


def _header(path: Path, text: bytes) -> dict[str, Any]:
    """The header; a GemmaError where it is that of something else."""
    header: dict[str, Any] = json.loads(text)
    metadata = (header.get("__metadata__") or {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("no header")
    found = metadata.get("format")
    if found != FORMAT:
        kind = found if isinstance(found, str) and found.startswith("gemma4_mlx session") else "no session"
        raise GemmaError(f"{path}: {kind}, where {FORMAT!r} is expected; give another path, it is not overwritten")
    return header


def _checksum(header: bytes, file: IO[bytes]) -> str:
    """Of a header, its length before it, and the rest of the file after it."""
    hashed = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    while block := file.read(BLOCK):
        hashed.update(block)
    return hashed.hexdigest()


def _kv_settings(path: Path, metadata: Mapping[str, str]) -> tuple[int | None, int]:
    with _problems_named(path):
        bits, group_size = json.loads(metadata["kv"])
        if not (bits is None or is_whole(bits, 4, 8)) or not is_whole(group_size, 32, 128):
            raise ValueError(f"caches of {bits!r} bits in groups of {group_size!r}")
        return bits, group_size


def _positions(path: Path, header: Mapping[str, Any], config: TextConfig) -> int:
    """How many positions a file says that it has, at most as many as the model."""
    with _problems_named(path):
        (count,) = header["ids"]["shape"]
        if not is_whole(count, 1, config.max_position_embeddings):
            raise ValueError(f"{shortened(repr(count))} positions")
        return int(count)


def _kv_words(bits: int | None, group_size: int) -> str:
    return "kv_bits none" if bits is None else f"kv_bits {bits} in groups of {group_size}"


@contextmanager
def _problems_named(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is read into one line that names it."""
    try:
        with device_errors_named():
            yield
    except FileNotFoundError:
        raise GemmaError(f"{path}: there is no such file") from None
    except OSError as error:
        raise GemmaError(f"{path}: can't be read ({one_line(error)})") from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, RecursionError) as error:
        raise GemmaError(
            f"{path}: no whole session file ({shortened(one_line(error))}); give another path, or delete it"
        ) from None
