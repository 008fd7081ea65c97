"""The session of a command that asks more than once, and `--prompt-cache-file`, which keeps it."""

from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_mlx.files import check_writable

if TYPE_CHECKING:
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.session import Session
    from gemma4_mlx.model.unified import Gemma4Unified
    from gemma4_mlx.prompt.prompt import Prompt


def open_session(path: str | None, model: "Gemma4Unified", prompt: "Prompt", options: "GenerationOptions") -> "Session":
    """The session of the file, or a new one where there is none yet.

    What does not fit into memory, or on the disk, is refused before weights are read. The file's own bits count where
    the options leave them open.
    """
    from gemma4_mlx.engine import session_file
    from gemma4_mlx.engine.generation import check_length, memory_need
    from gemma4_mlx.engine.options import AUTO, NONE
    from gemma4_mlx.engine.plan import cache_bytes, check
    from gemma4_mlx.engine.session import Session

    file = path if path is not None and Path(path).expanduser().exists() else None
    bits, group_size = options.kv_bits, options.kv_group_size
    if file is not None and bits == AUTO:
        kept, group_size = session_file.kv_settings(file)
        bits = kept or NONE
    need = memory_need(model, prompt, options, Session(model, kv_group_size=group_size))
    plan = check(need, need.choose(check_length(model, prompt, options), bits))
    if path is not None:
        rows = cache_bytes(need.config, len(prompt.ids), plan.kv_bits, group_size, need.itemsize)
        check_writable(path, sum(rows))
    if file is not None:
        return session_file.load(model, file, plan.kv_bits, group_size, longest=0, memory_limit=options.memory_limit)
    return Session(model, plan.kv_bits, group_size, longest=0)


def save_session(session: "Session", path: str) -> None:
    """Writes the session to its file, if it holds anything."""
    from gemma4_mlx.engine import session_file

    if session.held:
        session_file.save(session, path)
