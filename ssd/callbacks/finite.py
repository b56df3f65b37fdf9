"""Losses and gradients that are no numbers: the run stops at their step and says whose they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ssd.errors import StepError, resume_command
from ssd.records import Batch, Predictions

FILE = "failed_step.json"
NAMED = 8  # images in a message; the file has all
CURE = "a lower optimizer.lr, a warm-up or trainer.gradient_clip_val=5 mends that most often"


class Step(NamedTuple):
    """What is known of an optimizer step before it is taken."""

    number: int
    batches: list[Batch]  # its parts, on this device
    losses: dict[str, Tensor]  # of all devices
    norm: Tensor  # of the gradients; parts of a step are not divided by what they sum over yet
    finite: Tensor  # bool, on the CPU, once `copied`
    copied: torch.cuda.Event | None


class StopAtNonFinite(pl.Callback):
    """Ends a run, on all devices, at a step whose loss or gradients are no numbers.

    The message names the step, the images, the parts of the loss and the gradients' norm, and the
    command that trains again from the newest checkpoint to the same step and message;
    run_dir/failed_step.json has all of it.
    max_overflows: so many steps in a row may be left out in 16-mixed as their gradients overflow,
    which the scaler of the loss does now and then

    All devices see the same sums of losses and of gradients, so they need not ask each other. On a
    CPU the step is looked at before the weights move. On a GPU a look would wait for all that it
    has been given, while nothing new is. So the answer is copied beside the work, and read before
    the next step moves the weights: by then it is there. The weights did move by that step, but
    nothing is saved or scored of them: those looks wait. In 16-mixed the scaler waits by itself.
    """

    def __init__(self, run_dir: str | Path, max_overflows: int) -> None:
        self.run_dir = Path(run_dir)
        self.max_overflows = max_overflows
        self.overflows = 0  # in a row
        self.batches: list[Batch] = []  # of the step at work
        self.step: Step | None = None  # not looked at yet

    def on_train_start(self, *_: Any) -> None:
        self.overflows, self.batches, self.step = 0, [], None

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, index: int
    ) -> None:
        self.batches.append(batch)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        self.look(trainer, module)
        norm = nn.utils.get_total_norm(module.gradients)
        batches, self.batches = self.batches, []
        losses = module.losses
        finite = torch.isfinite(sum(losses.values()))
        if trainer.precision == "16-mixed" and finite:
            self.count_overflow(torch.isfinite(norm))
            return
        finite, copied = on_cpu(finite & torch.isfinite(norm))
        self.step = Step(trainer.global_step, batches, losses, norm, finite, copied)
        if not copied:
            self.look(trainer, module)

    def look(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Raise an error where the last step that was not looked at has failed."""
        step, self.step = self.step, None
        if step is None:
            return
        if step.copied:
            step.copied.synchronize()
        if not step.finite:
            self.fail(trainer, module, step)

    on_validation_start = on_save_checkpoint = look  # nothing of a failed step is scored or saved

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.look(trainer, module)
        if trainer.is_global_zero:
            (self.run_dir / FILE).unlink(missing_ok=True)  # of a step that is behind the run

    def count_overflow(self, finite: Tensor) -> None:
        self.overflows = 0 if finite else self.overflows + 1
        if self.overflows == self.max_overflows:
            raise StepError(
                f"{self.overflows} steps in a row were left out, as their gradients overflow in "
                "precision=16-mixed; use bf16-mixed or 32-true"
            )

    def fail(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        failing = [] if step.copied else [*own_failures(trainer, module, step.batches)]
        seen = [index for batch in step.batches for index in batch["indices"].tolist()]
        seen, failing = gathered(trainer, seen), gathered(trainer, failing)
        ids = trainer.train_dataloader.dataset.annotations.ids
        images = [ids[index] for index in failing or seen]
        numbers = {name: float(value) for name, value in step.losses.items()}
        numbers["gradient norm"] = float(step.norm)
        replay = resume_command(self.run_dir)
        lost = [] if step.copied else [*lost_gradients(module)]
        if trainer.is_global_zero:
            found = {
                "step": step.number,
                **{name: str(value) for name, value in numbers.items()},  # JSON has no nan
                "images": [ids[index] for index in seen],
                "images_with_such_a_loss": [ids[index] for index in failing],
                "gradients_that_are_no_numbers": lost,
                "replay": replay,
            }
            (self.run_dir / FILE).write_text(json.dumps(found, indent=2) + "\n")
        what = "the loss is" if not is_finite(step.losses) else "gradients are"
        values = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
        single = 0 < len(failing) < len(seen)
        whose = "look at the images that alone have such a loss:" if single else f"{CURE}; images:"
        more = f" and {len(images) - NAMED} more" if len(images) > NAMED else ""
        raise StepError(
            f"{what} no number at step {step.number}: {values}; {whose} "
            f"{', '.join(images[:NAMED])}{more}. {self.run_dir / FILE} has all; the same again: "
            f"{replay}"
        )


def is_finite(losses: dict[str, Tensor]) -> bool:
    return bool(torch.isfinite(sum(losses.values())))


def on_cpu(flag: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A GPU's answer on its way to the CPU, and when it is there."""
    if flag.device.type != "cuda":
        return flag, None
    host = torch.empty_like(flag, device="cpu", pin_memory=True).copy_(flag, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return host, copied


def lost_gradients(module: pl.LightningModule) -> Iterator[str]:
    for name, weight in module.network.named_parameters():
        if weight.grad is not None and not torch.isfinite(weight.grad).all():
            yield name


@torch.no_grad()
def own_failures(
    trainer: pl.Trainer, module: pl.LightningModule, batches: list[Batch]
) -> Iterator[int]:
    """The images whose own loss is no number, of the network before the step."""
    for batch in batches:
        with trainer.precision_plugin.forward_context():
            predictions = module.network(batch["images"])
        for row, index in enumerate(batch["indices"].tolist()):
            one = {name: column[row : row + 1] for name, column in batch.items()}
            said = Predictions(*(column[row : row + 1] for column in predictions))
            sums = module.loss(said, one, module.network.anchors)
            if not is_finite({name: sums[name] for name in ("class", "box")}):
                yield index


def gathered(trainer: pl.Trainer, values: list[int]) -> list[int]:
    """Those of all devices."""
    if trainer.world_size == 1:
        return values
    lists = [None] * trainer.world_size
    torch.distributed.all_gather_object(lists, values)
    return [value for values in lists for value in values]
