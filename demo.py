"""A detector in the browser: `python demo.py`, see conf/demo.yaml."""

import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from omegaconf import DictConfig

from ssd import cli
from ssd.errors import ConfigError

if TYPE_CHECKING:
    import gradio

    from ssd.detector import Detected, Detector

log = logging.getLogger("ssd.demo")

HEAD = ["class", "score", "left", "top", "right", "bottom"]
EMPTY = "Drop a picture on the left."
LOADED = 2  # detectors that stay in memory


class Seen(NamedTuple):
    """What a picture holds, by the checkpoint's own low threshold: the page shows a part of it."""

    found: "Detected"
    seconds: float


@hydra.main(version_base="1.3", config_path="conf", config_name="demo")
@cli.one_line_errors
def demo(cfg: DictConfig) -> None:
    # here, so that --help and tab completion need not wait for torch
    from ssd.detector import load
    from ssd.devices import find_device, find_precision
    from ssd.memory import keep_freed_memory
    from ssd.weights.checkpoints import find_checkpoint

    if not 0 <= cfg.score <= 1:
        raise ConfigError(f"score={cfg.score}: must be from 0 to 1")
    runs = [Path(folder) for folder in cfg.runs]
    offered = partial(checkpoints, cfg.checkpoint, runs)
    if not offered():
        raise ConfigError(
            f"no run below {', '.join(map(str, runs))} has a checkpoint; train one, or give "
            "checkpoint=RUN"
        )
    device = find_device(str(cfg.device))
    precision = find_precision(str(cfg.precision), device.type)
    if cfg.checkpoint is not None:
        load(cfg.checkpoint, str(device), precision)  # a mistake is said before there is a page
    if cfg.keep_memory and device.type == "cpu":
        keep_freed_memory()

    @lru_cache(LOADED)
    def loaded(file: Path, written: float) -> Any:
        return load(file, str(device), precision)

    def detector(given: str) -> Any:
        file = find_checkpoint(Path(given).expanduser())
        return loaded(file, changed(file))  # a run that is training has a new best now and then

    with tempfile.TemporaryDirectory(prefix="ssd_demo_") as folder:
        # gradio reads them as it is imported; what is dropped on the page is gone with the command
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        serve(build_page(offered, detector, cfg.score), cfg.host, cfg.port)


def checkpoints(given: str | None, runs: list[Path]) -> list[str]:
    """What can be chosen: the one that was given, then the run folders with the newest first."""
    files = {
        file
        for folder in runs
        for name in ("best", "last")  # which find_checkpoint takes
        for file in folder.glob(f"**/checkpoints/{name}.ckpt")
    }
    times = {file: changed(file) for file in files}
    folders = [str(file.parent.parent) for file in sorted(files, key=times.get, reverse=True)]
    return [*dict.fromkeys([given, *folders] if given else folders)]


def changed(file: Path) -> float:
    """When a file was written; 0 where a run that is still training has just taken it away."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def serve(page: "gradio.Blocks", host: str, port: int | None) -> None:
    """Show the page until a signal."""
    log.info("open %s in a browser; Ctrl-C ends it", launch(page, host, port))
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(cli.SIGNALLED + number))
    try:
        while page.is_running:
            time.sleep(0.2)
    finally:
        page.close(verbose=False)


def launch(page: "gradio.Blocks", host: str, port: int | None) -> str:
    """Start to serve the page. returns: its address"""
    import gradio

    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio calls its own page

    # fonts of the system: the theme's own would come from the network
    theme = gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port, share=False, ssr_mode=False, quiet=True,
            theme=theme, footer_links=[], show_error=True, prevent_thread_lock=True,
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"port={port}: is taken, or {host} is not this machine's") from error
    return address


def build_page(
    offered: Callable[[], list[str]], detector: Callable[[str], "Detector"], score: float
) -> "gradio.Blocks":
    import gradio

    look = partial(look_at, offered, detector)
    with gradio.Blocks(title="SSD", analytics_enabled=False) as page:
        seen = gradio.State()
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                # as the file is: the detector's own reader turns it upright and to RGB
                picture = gradio.Image(
                    label="Picture", type="filepath", image_mode=None, height=320,
                    sources=["upload", "clipboard"],
                )  # fmt: skip
                threshold = gradio.Slider(0, 1, score, step=0.01, label="Score of at least")
                choice = gradio.Dropdown(offered(), label="Checkpoint")
            with gradio.Column(scale=3, min_width=300):
                drawing = gradio.Image(
                    label="Detections", interactive=False, format="png",
                    buttons=["download", "fullscreen"],  # not "share", which is a web site's
                )  # fmt: skip
                said = gradio.Textbox(EMPTY, show_label=False, container=False)
        table = gradio.Dataframe(headers=HEAD, interactive=False, label="Boxes, in pixels")
        shown = {"inputs": [picture, seen, threshold], "outputs": [drawing, said, table]}
        # what was found before must not stand there while a first look takes its seconds
        clear = gradio.on(
            [picture.change, choice.change], lambda: (None, *nothing()), None,
            [seen, drawing, said, table], show_progress="hidden", api_name=False,
        )  # fmt: skip
        looked = clear.then(look, [picture, choice], seen, api_name="look")
        looked.success(show, **shown, api_name="show")
        threshold.change(
            show, **shown, trigger_mode="always_last", show_progress="hidden", api_name=False
        )
        page.load(lambda now: gradio.Dropdown(choices=offered(), value=now), choice, choice)
    return page


def look_at(
    offered: Callable[[], list[str]],
    detector: Callable[[str], "Detector"],
    picture: str | None,
    checkpoint: str,
) -> Seen | None:
    """Detect on a picture's file, by a checkpoint of those that are offered."""
    import gradio

    if picture is None:
        return None
    if checkpoint not in offered():  # a browser may ask for anything
        raise gradio.Error(f"no such checkpoint: {checkpoint}", print_exception=False)
    try:
        chosen = detector(checkpoint)
        start = time.monotonic()
        return Seen(chosen.detect(picture, score=None), time.monotonic() - start)
    except (ValueError, OSError) as error:
        raise gradio.Error(cli.one_line(error), print_exception=False) from error


def nothing() -> tuple[None, str, list[list[Any]]]:
    return None, EMPTY, []


def show(picture: str | None, seen: Seen | None, score: float) -> tuple[Any, str, list[list[Any]]]:
    """The picture with its boxes of `score` and more, a line about them, and their table."""
    from ssd.data.pictures import pixels_of
    from ssd.report.drawing import draw_boxes

    if picture is None or seen is None:
        return nothing()
    found = seen.found
    kept = found["scores"] >= score
    boxes, scores, labels = (found[name][kept] for name in ("boxes", "scores", "labels"))
    names = [name for name, keep in zip(found["names"], kept.tolist(), strict=True) if keep]
    drawn = draw_boxes(pixels_of(picture), boxes.numpy(), names, labels.tolist(), scores.tolist())
    counts = ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())
    said = f"{counts or 'Nothing'} of score {score:.2f} and more"
    if not names and len(found["scores"]):
        said += f"; the best has {found['scores'].max():.2f}"
    said += f" ({1000 * seen.seconds:.0f} ms)"
    rows = zip(names, scores.tolist(), boxes.tolist(), strict=True)
    return drawn, said, [[name, f"{s:.3f}", *(f"{x:.1f}" for x in box)] for name, s, box in rows]


if __name__ == "__main__":
    cli.run(demo)
