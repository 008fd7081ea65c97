"""A checkpoint folder -> a repository on the Hub."""

from pathlib import Path

from gemma4_mlx.errors import GemmaError, one_line


def upload(folder: Path, repo: str) -> None:
    """Uploads the folder, with resume, to the repository `owner/name`, which is made where it does not exist.

    Honours HF_TOKEN. Raises GemmaError where the Hub refuses or can't be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of the HTTP library it uses

    api = HfApi()
    try:
        api.create_repo(repo, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder)
    except (HTTPError, OSError, ValueError) as error:
        reason = one_line(error)
        raise GemmaError(f"{repo}: upload failed ({reason}); the checkpoint is in {folder}") from None
