"""The command line: what can be typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from sparsebench.errors import UsageError, unknown
from sparsebench.launchers import LAUNCHERS

KINDS = ("methods", "tasks", "models", "datasets", "boards", "measures", "diets")


class Parser(ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        text = " ".join(line.strip() for line in str(message).splitlines())
        text = re.sub(r'Parser key "(\w+)"(?: element \d+)?:', r"--\1:", text)
        text = re.sub(rf"(?:{'|'.join(COMMANDS)})\.(\w+)", r"\1", text)
        text = re.sub(r"Expected a <class '(\w+)'>. Got value:", r"expected \1, got", text)
        text = re.sub(r"arguments are required: (?=to\b)", "arguments are required: --", text)
        text = re.sub(r"--[a-z_]+", lambda option: option[0].replace("_", "-"), text)
        raise UsageError(f"{text} (see: {self.prog.replace(' [options]', '')} --help)")


def parse(argv: list[str]) -> Namespace:
    """The command and its arguments.

    Raises:
        UsageError: an unknown command or option (with the nearest one), or a value of a wrong type.
    """
    parser, commands = build(argv[:1])
    if not argv:
        parser.print_help()
        raise SystemExit(0)
    if not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise unknown("command", argv[0], COMMANDS, "sparsebench --help")
    if argv[0] in commands:
        _known_options(argv[1:], commands[argv[0]], f"sparsebench {argv[0]}")
    else:
        _known_options(argv[:1], parser, "sparsebench")
    parsed = parser.parse_args(argv)
    return Namespace(command=parsed.subcommand, **vars(parsed[parsed.subcommand]))


def build(typed: Sequence[str] = ()) -> tuple[Parser, dict[str, Parser]]:
    """The parser and those of its commands; of the one command that was typed alone, since each takes its time."""
    parser = Parser(prog="sparsebench", description="A benchmark suite for neural network pruning.", version=_version())
    names = [name for name in typed if name in COMMANDS] or list(COMMANDS)
    commands = {name: COMMANDS[name]() for name in names}
    group = parser.add_subcommands(required=True, metavar="COMMAND")
    for name, command in commands.items():
        group.add_subcommand(name, command, help=command.description)
    return parser, commands


def _run() -> Parser:
    p = _board_command("run", "run what is missing of a board and render its leaderboard")
    p.add_argument("--methods", type=str, nargs="+", help="these methods only: names, or files such as my_method.py")
    p.add_argument("--tasks", type=str, nargs="+", help="these tasks of the board only")
    p.add_argument("--seeds", type=int, nargs="+", help="these of the board's seeds only")
    p.add_argument("--sparsities", type=float, nargs="+", help="these of the board's sparsities only")
    _computing(p)
    return p


def _reproduce() -> Parser:
    p = Parser(prog="sparsebench reproduce", description="a paper's claims: published beside measured, with a verdict")
    p.add_argument("paper", type=str, nargs="?", help="a paper's name, or a recipe's file (default: list them all)")
    p.add_argument("--scale", type=str, default="smoke", help="smoke (minutes on two cores) or full (the paper's own)")
    p.add_argument("--instead", type=str, default="", help="OLD=NEW: another data set, such as cifar10=cifar10_jpeg")
    p.add_argument("--render", action="store_true", help="write the page from the records there are; compute nothing")
    _folders(p)
    _computing(p)
    return p


def _explore() -> Parser:
    p = Parser(prog="sparsebench explore", description="one page of linked views of what pruning does to single images")
    p.add_argument("board", type=str, help="a board that asks for the measure geometry: its name, YAML file, or paper")
    p.add_argument("--seeds", type=int, nargs="+", help="whose networks are shown image by image (default: the first)")
    p.add_argument("--scale", type=str, default="smoke", help="of a paper: smoke or full")
    p.add_argument("--map", type=str, default="pca", help="layout of the networks: pca, or umap if it is installed")
    p.add_argument("--to", type=str, help="write the page to this file (default: explore.html beside the records)")
    _folders(p)
    return p


def _computing(p: Parser) -> None:
    """Where and how missing cells are computed."""
    p.add_argument("--workers", type=int, help="jobs at a time (default: one a CPU core, --per-device a GPU)")
    p.add_argument("--launcher", type=str, default="local", help="|".join(LAUNCHERS))
    p.add_argument("--devices", type=int, default=1, help="devices of a node that train a cell together (DDP)")
    p.add_argument("--nodes", type=int, default=1, help="nodes that train a cell together (torchrun, slurm)")
    p.add_argument("--per-device", type=int, default=1, help="jobs that share a GPU")
    p.add_argument("--time-limit", type=float, help="seconds after which a job is stopped and reported")
    p.add_argument("--ray-address", type=str, help="HOST:PORT of a Ray cluster (default: $RAY_ADDRESS, else one here)")
    p.add_argument("--slurm", type=str, nargs="+", help="KEY=VALUE of submitit: partition=gpu time=4:00:00 ...")
    p.add_argument("--detach", action="store_true", help="leave after submitting to Slurm; a second job publishes")
    p.add_argument("--attach", type=str, help="watch this Slurm run, and publish, instead of submitting one")
    p.add_argument("--threads", type=int, default=1, help="CPU threads of a process")
    p.add_argument("--data", type=str, help="folder of the data sets (default: $SPARSEBENCH_DATA, else ./data)")
    p.add_argument("--download", action="store_true", help="fetch a missing data set")
    p.add_argument("--accelerator", type=str, default="auto", help="cpu, gpu or auto")
    p.add_argument(
        "--logger",
        type=str,
        nargs="+",
        help="tensorboard|wandb|mlflow|csv, several if you like, or none (default: tensorboard, if it is installed)",
    )
    p.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, help="least time between checkpoints of a training"
    )


def _report() -> Parser:
    p = _board_command("report", "render a board's leaderboard from its records")
    p.add_argument("--format", type=str, nargs="+", help="md csv tex json parquet html, or all (default: md csv)")
    p.add_argument("--no-figures", action="store_true", help="tables only")
    return p


def _list() -> Parser:
    p = Parser(prog="sparsebench list", description="what there is: " + ", ".join(KINDS))
    p.add_argument("kind", type=str, help=" | ".join(KINDS))
    p.add_argument("--json", action="store_true", help="as JSON")
    return p


def _show() -> Parser:
    p = Parser(prog="sparsebench show", description="one cell's record, or a method's fingerprint")
    p.add_argument("cell", type=str, help="cell id (or its beginning), as in a record's file name; or a method")
    _folders(p)
    p.add_argument("--json", action="store_true", help="the record itself")
    return p


def _card() -> Parser:
    p = Parser(prog="sparsebench card", description="a method's page: definition, fingerprint, results, traps")
    p.add_argument("method", type=str, help="a method, FILE.py:METHOD, or the name of a regime or modifier")
    p.add_argument("--board", type=str, help="results of this board only (default: every board with records)")
    p.add_argument("--format", type=str, help="md or html (default: by the name of --to, else md)")
    p.add_argument("--to", type=str, help="write the page to this file")
    _folders(p)
    return p


def _export() -> Parser:
    p = Parser(prog="sparsebench export", description="write the network of a cell to a file")
    p.add_argument("cell", type=str, help="cell id, or its beginning")
    p.add_argument("--to", type=str, required=True, help="FILE.pt, FILE.safetensors (with masks) or FILE.onnx")
    _folders(p)
    p.add_argument("--data", type=str, help="folder of the data sets (default: $SPARSEBENCH_DATA, else ./data)")
    return p


def _latency() -> Parser:
    p = Parser(prog="sparsebench latency", description="time the network of a cell: dense, masked, shrunk, 2:4")
    p.add_argument("cell", type=str, help="cell id, or its beginning")
    p.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 64], help="images at once")
    p.add_argument("--threads", type=int, nargs="+", default=[1], help="CPU threads")
    p.add_argument("--precision", type=str, default="32", help="32, bf16 or 16; 2:4 needs 16 bits")
    p.add_argument("--repeats", type=int, default=15, help="rounds, each of all networks in turn")
    p.add_argument("--accelerator", type=str, default="auto", help="cpu, gpu or auto")
    _folders(p)
    p.add_argument("--data", type=str, help="folder of the data sets (default: $SPARSEBENCH_DATA, else ./data)")
    p.add_argument("--json", action="store_true", help="as JSON")
    return p


def _rerun() -> Parser:
    p = Parser(prog="sparsebench rerun", description="compute a cell anew from its record alone and compare")
    p.add_argument("record", type=str, help="a record's file, or its cell id (or the beginning)")
    p.add_argument("--methods", type=str, nargs="+", help="files of your own methods, such as my_method.py")
    p.add_argument("--keep", type=str, help="compute in this new folder and keep it; a killed rerun goes on from there")
    p.add_argument("--threads", type=int, help="CPU threads (default: as recorded)")
    p.add_argument("--accelerator", type=str, help="cpu, gpu or auto (default: as recorded, where there is one)")
    p.add_argument("--workers", type=int, default=1, help="worker processes")
    p.add_argument("--launcher", type=str, default="local", help="local (worker processes) or inline (this process)")
    p.add_argument("--data", type=str, help="folder of the data sets (default: $SPARSEBENCH_DATA, else ./data)")
    p.add_argument("--download", action="store_true", help="fetch a missing data set")
    _folders(p)
    p.add_argument("--json", action="store_true", help="as JSON")
    return p


def _verify() -> Parser:
    p = Parser(prog="sparsebench verify", description="check stored stages and records against each other")
    p.add_argument("folder", type=str, help="a store (.sparsebench) or a folder of records (results, results/quick)")
    p.add_argument("--store", type=str, help="with a folder of records: the store of the networks behind them")
    p.add_argument("--measure", action="store_true", help="run every stored network on the test split again")
    p.add_argument("--data", type=str, help="folder of the data sets (default: $SPARSEBENCH_DATA, else ./data)")
    p.add_argument("--json", action="store_true", help="every check, as JSON")
    return p


def _new() -> Parser:
    p = Parser(prog="sparsebench new", description="write the file of a new method, and its test, to start from")
    p.add_argument("name", type=str, help="of the method: small letters, digits and underscores, such as my_method")
    p.add_argument("--kind", type=str, default="criterion", help="criterion, units, solver, regime or modifier")
    p.add_argument("--to", type=str, default=".", help="folder to write to")
    return p


def _check() -> Parser:
    p = Parser(prog="sparsebench check", description="hold the suite's rules against your method, one by one")
    p.add_argument("file", type=str, help="the file of your method, such as my_method.py")
    p.add_argument("--no-cells", action="store_true", help="leave out the small cell that is trained with each method")
    p.add_argument("--json", action="store_true", help="every verdict, as JSON")
    return p


def _submit() -> Parser:
    p = Parser(prog="sparsebench submit", description="gather a method's records into the folder of a pull request")
    p.add_argument("methods", type=str, nargs="+", help="the file of your method, such as my_method.py; or methods")
    p.add_argument("--board", type=str, help="the board whose records are submitted, always to be named")
    p.add_argument("--to", type=str, default="submissions", help="writes TO/<board>/<name>/")
    p.add_argument("--name", type=str, help="of the submission (default: the file's)")
    p.add_argument("--authors", type=str, nargs="+", help="who made the method, each in quotes")
    p.add_argument("--paper", type=str, help="where it is described")
    p.add_argument("--without-code", action="store_true", help="records alone: marked unverified")
    p.add_argument("--results", type=str, default="results", help="folder of the records")
    return p


def _validate() -> Parser:
    p = Parser(prog="sparsebench validate", description="check a submission, or results, as a pull request is checked")
    p.add_argument("folder", type=str, help="a submission, a folder of submissions, or a folder of results")
    p.add_argument("--rerun", type=int, default=2, help="cells of each that are drawn by lot and computed again")
    p.add_argument("--salt", type=str, default="", help="goes into the lot: what a submitter cannot know beforehand")
    p.add_argument("--methods", type=str, nargs="+", help="files of methods that results were made with")
    p.add_argument("--threads", type=int, help="CPU threads (default: as recorded)")
    p.add_argument("--accelerator", type=str, help="cpu, gpu or auto (default: as recorded, where there is one)")
    p.add_argument("--launcher", type=str, default="inline", help="inline (this process) or local (a worker process)")
    p.add_argument("--data", type=str, help="folder of the data sets (default: $SPARSEBENCH_DATA, else ./data)")
    p.add_argument("--download", action="store_true", help="fetch a missing data set")
    p.add_argument("--json", action="store_true", help="every check, as JSON")
    return p


def _board_command(name: str, description: str) -> Parser:
    p = Parser(prog=f"sparsebench {name}", description=description)
    p.add_argument("board", type=str, help="a board's name (sparsebench list boards) or a YAML file")
    _folders(p)
    return p


def _folders(p: Parser) -> None:
    p.add_argument("--store", type=str, default=".sparsebench", help="folder of stages and checkpoints")
    p.add_argument("--results", type=str, default="results", help="folder of records and leaderboards")


def _known_options(argv: list[str], command: Parser, name: str) -> None:
    options = [o for action in command._actions for o in action.option_strings]
    for word in argv:
        option = word.split("=", 1)[0]
        if option.startswith("--") and len(option) > 2 and option not in options:
            raise unknown("option", option, options, f"{name} --help")


def _version() -> Any:
    from importlib.metadata import version

    return version("sparsebench")


COMMANDS: dict[str, Callable[[], Parser]] = {
    "run": _run,
    "reproduce": _reproduce,
    "explore": _explore,
    "status": partial(_board_command, "status", "what of a board is done and what is missing"),
    "report": _report,
    "list": _list,
    "show": _show,
    "card": _card,
    "export": _export,
    "latency": _latency,
    "rerun": _rerun,
    "verify": _verify,
    "new": _new,
    "check": _check,
    "submit": _submit,
    "validate": _validate,
}
"""What makes the parser of each command, in the order of the help."""
