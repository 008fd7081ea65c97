"""`python -m gemma4_mlx.convert`: a checkpoint from a folder or the Hub -> an MLX checkpoint."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from gemma4_mlx.checkpoint.address import HUB, NANO, Address, is_repository_name, read_address
from gemma4_mlx.checkpoint.quantize import AFFINE, DEFAULTS, RECIPES, Quantization
from gemma4_mlx.commands.common import add_debug, run
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.errors import GemmaError, UsageError, note, visible
from gemma4_mlx.settings import remember_folder

PROG = "gemma4_mlx.convert"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command, called `prog` in what it says of itself; return its exit code."""
    return run(convert_checkpoint, make_parser(prog), argv)


def make_parser(prog: str = PROG) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Convert Gemma 4 12B Unified to MLX, quantized if you like."
    )
    parser.add_argument("--hf-path", "--model", required=True, help="folder or Hub repository to convert")
    parser.add_argument("--mlx-path", default="mlx_model", help="new folder to write (default: mlx_model)")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    parser.add_argument("--offline", action="store_true", help="use only what is downloaded already")
    parser.add_argument("--upload-repo", metavar="OWNER/NAME", help="then upload the result to this Hub repository")
    weights = parser.add_argument_group("the weights")
    weights.add_argument("-q", "--quantize", action="store_true", help="quantize the language model")
    weights.add_argument("--q-bits", type=int, help="bits of a weight: 2, 3, 4, 5, 6 or 8 (default: 4)")
    weights.add_argument("--q-group-size", type=int, help="weights with one scale: 32, 64 or 128 (default: 64)")
    weights.add_argument("--q-mode", choices=tuple(DEFAULTS), help=f"kind of quantization (default: {AFFINE})")
    weights.add_argument(
        "--quant-predicate",
        metavar="RECIPE",
        help=f"more bits for the weights that suffer most: {', '.join(RECIPES)}",
    )
    weights.add_argument("-d", "--dequantize", action="store_true", help="turn a quantized checkpoint into a plain one")
    weights.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), help="type of plain weights")
    add_debug(parser)
    return parser


def convert_checkpoint(args: argparse.Namespace) -> int:
    """Finds the source, converts it, uploads the result if asked to."""
    quantization = read_quantization(args)
    from gemma4_mlx.checkpoint.convert import ConvertOptions, check_target, convert
    from gemma4_mlx.checkpoint.hub import local_folder, resolve

    if args.upload_repo and not is_repository_name(args.upload_repo):
        raise UsageError(f"{args.upload_repo}: not the name of a Hub repository (owner/name)")
    if args.upload_repo and args.offline:
        raise UsageError("--upload-repo needs the Hub; leave --offline out")

    options = ConvertOptions(quantization=quantization, dequantize=args.dequantize, dtype=args.dtype)
    target = Path(args.mlx_path).expanduser()
    check_target(target)
    source = resolve(args.hf_path, revision=args.revision, offline=args.offline)
    address = None if local_folder(args.hf_path) else source_address(args)
    terminal = Terminal(show_thought=False)
    try:
        written = convert(source, target, options, address=address, progress=_progress(terminal))
    finally:
        terminal.clear()
    remember_folder(target)
    _note_what_lacks(target)
    print(
        f"{visible(str(target))}: {written.bytes / 1e9:.2f} GB, {8 * written.bytes / written.weights:.2f} bits a weight"
    )
    if args.upload_repo:
        from gemma4_mlx.checkpoint.upload import upload

        upload(target, args.upload_repo)
        print(f"https://huggingface.co/{args.upload_repo}")
    return 0


def source_address(args: argparse.Namespace) -> Address | None:
    """Where the source is downloaded from, None if it is built in; its card is fetched, if it has one."""
    address = None if args.hf_path == NANO else read_address(args.hf_path, args.revision)
    if address is not None and address.host == HUB and not args.offline:
        from gemma4_mlx.checkpoint.hub import fetch_card

        fetch_card(address)
    return address


def _note_what_lacks(folder: Path) -> None:
    """Says why the new folder can't answer yet: it may lack what the source lacked."""
    from gemma4_mlx.prompt.processor import Processor

    try:
        Processor.from_folder(folder)
    except GemmaError as error:
        note(f"{folder} can't be asked yet ({error}); add what is missing")


def read_quantization(args: argparse.Namespace) -> Quantization | None:
    """What the options ask for. Raises UsageError where they contradict each other."""
    if not args.quantize:
        given = {
            "--q-bits": args.q_bits,
            "--q-group-size": args.q_group_size,
            "--q-mode": args.q_mode,
            "--quant-predicate": args.quant_predicate,
        }
        without_effect = [option for option, value in given.items() if value is not None]
        if without_effect:
            raise UsageError(f"{without_effect[0]} needs -q")
        return None
    if args.dequantize:
        raise UsageError("-q or -d, not both")
    return Quantization.choose(args.q_mode or AFFINE, args.q_bits, args.q_group_size, args.quant_predicate)


def _progress(terminal: Terminal) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        terminal.status(f"converting: {done / 1e9:.2f} of {total / 1e9:.2f} GB")

    return show
