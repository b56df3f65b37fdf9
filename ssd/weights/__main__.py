"""Weights from and for other projects: python -m ssd.weights IN OUT"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from ssd.weights.checkpoints import find_checkpoint, network_weights, read_checkpoint
from ssd.weights.files import write_file
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.torchvision import convert_back, differences

PROJECTS = (
    "torchvision (ssd300_vgg16, ssdlite320_mobilenet_v3_large), amdegroot/ssd.pytorch, "
    "lufficc/SSD, qfgaohao/pytorch-ssd, NVIDIA DeepLearningExamples SSD, mmdetection SSD300 and "
    "SSD512, and balancap/SSD-Tensorflow"
)
log = logging.getLogger("ssd.weights")


def parser() -> argparse.ArgumentParser:
    verb = argparse.ArgumentParser(
        prog="python -m ssd.weights",
        description="Make a checkpoint that evaluate.py and init.checkpoint= take of the weights "
        f"of {PROJECTS}; or, with --to torchvision, a state dict of torchvision's of one of ours.",
    )
    verb.add_argument("input", metavar="IN", help="a file, or a run folder: its best")
    verb.add_argument("output", metavar="OUT", help="the file to write; it must not be there yet")
    verb.add_argument("--to", choices=("ssd", "torchvision"), default="ssd")
    verb.add_argument(
        "--classes",
        metavar="A,B,…",
        help="names without a background, in the order of the weights, where the file does not "
        "say them and they are neither VOC's nor COCO's",
    )
    verb.add_argument(
        "--anchor-sizes",
        metavar="NAME|30,60,…",
        help="model.anchor_sizes, where the weights have learned with others than their project "
        "gives their number of classes",
    )
    return verb


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source, target = Path(options.input).expanduser(), Path(options.output).expanduser()
    try:
        check_target(target)
        write_file(converted(find_checkpoint(source), options), target)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(target)


def converted(path: Path, options: argparse.Namespace) -> Any:
    if options.to == "torchvision":
        if options.classes or options.anchor_sizes:
            raise ValueError("--classes and --anchor-sizes are not for --to torchvision")
        return torchvision_weights(path)
    return load_checkpoint(path, names(options.classes), sizes(options.anchor_sizes))


def names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    given = [name.strip() for name in text.split(",")]
    if not all(given) or len(set(given)) < len(given):
        raise ValueError(f"--classes {text}: give every name once, with commas between")
    return given


def sizes(text: str | None) -> str | list[float] | None:
    """A table's name, or numbers with commas between."""
    if text is None or "," not in text:
        return text
    try:
        return [float(size) for size in text.strip("[]").split(",")]
    except ValueError:
        raise ValueError(f"--anchor-sizes {text}: give a name, or numbers as in 30,60") from None


def torchvision_weights(path: Path) -> dict[str, Tensor]:
    checkpoint = read_checkpoint(path)
    model = checkpoint["ssd"]["model"]
    try:
        weights = convert_back(model, network_weights(checkpoint))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for fact in differences(model):
        log.warning("these weights go with %s, which torchvision's constructor has not", fact)
    return weights


def check_target(path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} is there already; give another name, or remove it")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent}: no such folder to write {path.name} into")


if __name__ == "__main__":
    main(sys.argv[1:])
