"""The progress of a run: one bar on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

FORMAT = "{desc}: {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt}{postfix}"


class Progress(ProgressBar):
    """Shows optimizer steps of the whole run, loss, images per second, last score and time left.

    Where stderr is no terminal it prints a line every `every_seconds` and after each validation.
    The rate is the metric train/images_per_second: it appears where Throughput is among the
    callbacks. Time left counts validations in.
    """

    def __init__(self, monitor: str, every_seconds: float) -> None:
        super().__init__()
        self.monitor = monitor
        self.every_seconds = every_seconds
        self.shown = True
        self.run: tqdm | None = None  # the bar of training
        self.part: tqdm | None = None  # the bar of a validation or a test
        self.start = self.printed = 0.0
        self.first_step = self.shown_step = 0

    def disable(self) -> None:
        self.shown = False

    def enable(self) -> None:
        self.shown = True

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        tqdm.write(sep.join(map(str, args)), **kwargs)

    @property
    def terminal(self) -> bool:
        return self.shown and sys.stderr.isatty()

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.start = self.printed = time.monotonic()
        self.first_step = trainer.global_step
        if self.terminal:
            self.run = tqdm(
                total=total_steps(trainer),
                initial=trainer.global_step,
                desc="training",
                bar_format=FORMAT,
                dynamic_ncols=True,
            )

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # metrics lie on the device: to look at every batch would make it wait
        if self.shown and time.monotonic() - self.printed >= (
            1 if self.run else self.every_seconds
        ):
            self.show(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.close_part()
        if self.shown and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.show(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.shown and self.shown_step != trainer.global_step:
            self.show(trainer)
        self.close()

    def on_exception(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self.close_part()
        if self.run:
            self.run.close()
        self.run = None

    def show(self, trainer: pl.Trainer) -> None:
        self.printed, self.shown_step = time.monotonic(), trainer.global_step
        status = self.status(trainer)
        if self.run:
            self.run.n = trainer.global_step
            self.run.set_postfix_str(status)
        else:
            done = f"{trainer.global_step}/{total_steps(trainer) or '?'}"
            with contextlib.suppress(BrokenPipeError):  # nobody reads any more; training goes on
                print(f"step {done}, {status}", file=sys.stderr, flush=True)

    def status(self, trainer: pl.Trainer) -> str:
        metrics = trainer.callback_metrics
        shown = {
            "train/loss": "loss {:.3f}",
            "train/images_per_second": "{:.0f} images/s",
            self.monitor: self.monitor + " {:.3f}",
        }
        texts = [form.format(float(metrics[key])) for key, form in shown.items() if key in metrics]
        total, steps = total_steps(trainer), trainer.global_step - self.first_step
        if total and steps:
            left = (time.monotonic() - self.start) / steps * (total - trainer.global_step)
            texts.append(f"{tqdm.format_interval(left)} left")
        return ", ".join(texts)

    def open_part(self, name: str, total: float) -> None:
        if self.terminal:
            finite = total if total < float("inf") else None
            self.part = tqdm(total=finite, desc=name, leave=False, dynamic_ncols=True)

    def step_part(self, *_: Any) -> None:
        if self.part:
            self.part.update()

    def close_part(self, *_: Any) -> None:
        if self.part:
            self.part.close()
        self.part = None

    def on_validation_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.sanity_checking:
            self.open_part("validation", sum(trainer.num_val_batches))

    def on_test_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.open_part("test", sum(trainer.num_test_batches))

    on_validation_batch_end = on_test_batch_end = step_part
    on_test_end = close_part


def total_steps(trainer: pl.Trainer) -> int | None:
    """Optimizer steps of the whole run; None where they are not known."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if 0 < steps < float("inf") else None
