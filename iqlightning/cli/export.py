"""``export CKPT``: the policy as files that need none of this package, each checked against the policy."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iqlightning.analysis.model_card import model_card
from iqlightning.analysis.runs import read_summary
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.checkpoints import load_policy
from iqlightning.cli.options import Options, console_beside, positive
from iqlightning.cli.resuming import SETTINGS_KEY
from iqlightning.errors import UserError
from iqlightning.files import check_output, write_atomically
from iqlightning.portable import compare, reloaded, require_onnx, trace, weights_file

__all__ = ["run"]


_PROGRAMS = {"torch": "policy.pt2", "onnx": "policy.onnx"}


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, traces, compares, writes."""
    options = _options(command)
    given = options.parse_args(arguments)
    formats = ("torch", "onnx") if given.format in (None, "all") else (given.format,)
    if given.output == "":
        raise UserError("--output names the folder to write to, and its name is empty")
    folder = _default_folder(Path(given.checkpoint)) if given.output is None else Path(given.output)
    _require_free(folder, formats, given.force, options.mark)
    torch.set_num_threads(1)
    policy = load_policy(given.checkpoint)
    if "onnx" in formats:
        try:
            require_onnx()
        except UserError as error:
            if given.format is not None:
                raise
            formats = ("torch",)
            print(f"iqlightning: without policy.onnx: {error}", file=sys.stderr)
    console = console_beside()
    portable = trace(policy)
    files: dict[str, bytes] = {}
    agreements = {}
    for name in formats:
        file = _PROGRAMS[name]
        if name == "torch":
            files[file] = portable.torch_bytes()
            agreement = compare(policy, reloaded(portable, files[file]), given.observations)
        else:
            files[file] = portable.onnx_bytes()
            agreement = compare(policy, portable, given.observations, onnx=files[file])
        if not agreement.holds:
            raise UserError(
                f"the {name} program does not repeat the policy: on {agreement.observations:,} observations its "
                f"Q-values are off by up to {agreement.difference:.2g} and {agreement.same_actions:.1%} of its actions "
                "are the same; nothing was written"
            )
        agreements[file] = agreement
        console.print(
            f"{file}: the same as the policy on {agreement.observations:,} observations "
            f"(largest difference of Q {agreement.difference:.1e})",
            highlight=False,
            soft_wrap=True,
        )
    files["weights.safetensors"] = weights_file(policy)
    settings = read_checkpoint(given.checkpoint).get(SETTINGS_KEY)
    card = model_card(
        policy,
        portable,
        agreements,
        checkpoint=str(given.checkpoint),
        settings=settings,
        summary=_summary(Path(given.checkpoint)),
    )
    files["README.md"] = f"<!-- generator: {options.mark} -->\n\n{card}".encode()
    for name, content in files.items():
        write_atomically(folder / name, content, what="exported file")
    varying = ", ".join(portable.dynamic)
    if portable.sides is not None:
        varying += f" (height and width from {portable.sides[0]} to {portable.sides[1]})"
    console.print(f"dimensions that may vary: {varying}", highlight=False)
    console.print(f"wrote {', '.join(files)} to {folder}", highlight=False, soft_wrap=True)


def _options(command: str) -> Options:
    options = Options(
        command,
        "Writes the policy of a checkpoint as a torch.export program and an ONNX file, each compared with the policy, "
        "its weights as safetensors, and a model card.",
        trusting=True,
    )
    options.add_argument("checkpoint", metavar="CKPT", help="a checkpoint file")
    options.add_argument("--output", metavar="FOLDER", help="where to write; by default the run's folder export")
    options.add_argument("--force", action="store_true", help="replace files, whoever made them")
    options.add_argument(
        "--format",
        choices=("all", "torch", "onnx"),
        default=None,
        help="which programs to write; None: torch, and onnx where the extra export is installed",
    )
    options.add_argument("--observations", type=positive, default=1000, help="how many to compare each program on")
    return options


def _require_free(folder: Path, formats: Sequence[str], force: bool, mark: str) -> None:
    """The model card, which bears the mark, says whose the files beside it are."""
    check_output(folder / "README.md", "exported file", force=force, mark=mark)
    ours = force or (folder / "README.md").is_file()
    for name in (*(_PROGRAMS[each] for each in formats), "weights.safetensors"):
        check_output(folder / name, "exported file", force=ours)


def _default_folder(checkpoint: Path) -> Path:
    """``logs/NAME/version_N/export``; beside a checkpoint that lies elsewhere, a folder of its name."""
    if checkpoint.parent.name == "checkpoints":
        return checkpoint.parent.parent / "export"
    return checkpoint.with_name(f"{checkpoint.stem}_export")


def _summary(checkpoint: Path) -> dict[str, Any] | None:
    """The run's final table, if it is about this checkpoint."""
    summary = read_summary(checkpoint.parent.parent / "summary.json")
    about = None if summary is None else summary.get("checkpoint")
    return summary if isinstance(about, str) and Path(about).name == checkpoint.name else None
