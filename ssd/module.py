"""What happens to a batch: the LightningModule around network, loss and detection."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ssd.errors import ConfigError
from ssd.metric import SUMMARY, DetectionMetric, coco_ground_truth, coco_results
from ssd.models import SSD
from ssd.ops.detecting import detect
from ssd.records import Batch, Detections, Predictions
from ssd.report.results import Scored
from ssd.weights.checkpoints import FORMAT

PARTS = ("class", "box")  # of the loss
SUMS = (*PARTS, "positives")  # what a loss returns


class SSDModule(pl.LightningModule):
    """Trains, validates and tests a network.

    loss: None for scoring without one
    detecting: the arguments of `ops.detecting.detect`
    classes: names, without the background
    model: the network's name in `ssd.models` and its arguments, for checkpoints to be used alone
    optimizer, scheduler: factories, of the parameters and of (optimizer, total_steps)
    """

    def __init__(
        self,
        network: SSD,
        loss: nn.Module | None,
        detecting: dict[str, float],
        classes: Sequence[str],
        model: dict[str, Any],
        optimizer: Callable[[Iterator[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer, int], LRScheduler],
    ) -> None:
        super().__init__()
        # channels_last is how the images come, and up to three times as fast on a CPU
        self.network = network.to(memory_format=torch.channels_last)
        self.loss = loss
        self.detect = partial(detect, **detecting)
        self.classes = list(classes)
        self.model = model
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.window: Tensor | int = 0  # SUMS of the parts accumulated so far
        self.scores: dict[str, float] = {}  # of the last validation and test, in full precision

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.make_optimizer(self.network.parameters())
        self.rates = [group["lr"] for group in optimizer.param_groups]
        scheduler = self.make_scheduler(optimizer, self.trainer.estimated_stepping_batches)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @property
    def parts(self) -> int:
        """Batches of one optimizer step."""
        return self.trainer.accumulate_grad_batches

    def on_fit_start(self) -> None:
        if self.parts > 1 and self.trainer.precision == "16-mixed":
            raise ConfigError(
                f"trainer.accumulate_grad_batches={self.parts} sums losses that overflow in "
                "precision=16-mixed; use precision=bf16-mixed or 32-true, or do not accumulate"
            )

    def on_train_start(self) -> None:
        """The rate that is asked for now: a checkpoint restores the one that its run was given."""
        schedule = self.lr_schedulers()
        if isinstance(schedule, LambdaLR):
            schedule.base_lrs = self.rates
            groups = self.optimizers().param_groups
            for group, base, factor in zip(groups, self.rates, schedule.lr_lambdas, strict=True):
                group["lr"] = base * factor(schedule.last_epoch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        losses = self.loss(self.network(batch["images"]), batch, self.network.anchors)
        sums = self.reduced(torch.stack([losses[name].detach().float() for name in SUMS]))
        self.window = self.window + sums
        total = sum(losses[part] for part in PARTS)
        if self.parts > 1:  # how many positives there are to divide by is known at the last part
            return total
        return total * self.trainer.world_size / sums[-1].clamp(min=1)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Accumulated sums to a mean over the positives of the whole step, over all devices.

        Lightning has divided by the parts and DDP by the devices.
        """
        *parts, positives = self.window
        self.window = 0
        if self.parts > 1:
            scale = self.trainer.world_size * self.parts / positives.clamp(min=1)
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            torch._foreach_mul_(gradients, scale)
        self.log_losses([part / positives.clamp(min=1) for part in parts], positives)
        self.log("train/lr", optimizer.param_groups[0]["lr"])

    def log_losses(self, losses: list[Tensor], positives: Tensor) -> None:
        """Log the means over the global batch; stop where they are no numbers any more."""
        total = sum(losses)
        named = {f"train/loss_{name}": loss for name, loss in zip(PARTS, losses, strict=True)}
        self.log_dict({"train/loss": total, **named, "train/positives": positives})
        step = self.trainer.global_step
        due = total.device.type == "cpu" or step % self.trainer.log_every_n_steps == 0
        if due and not torch.isfinite(total):  # on a GPU a look at every step would make it wait
            values = ", ".join(f"{name} {float(loss):g}" for name, loss in named.items())
            raise ValueError(
                f"the loss is no number at step {step}: {values}; a lower optimizer.lr, a warm-up "
                "or trainer.gradient_clip_val=5 mends that most often"
            )

    def reduced(self, sums: Tensor) -> Tensor:
        """The sum over all devices."""
        return self.trainer.strategy.reduce(sums, reduce_op="sum")

    def on_validation_start(self) -> None:
        self.start_scoring(self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        self.start_scoring(self.trainer.test_dataloaders)

    def start_scoring(self, loader: Iterable[Batch]) -> None:
        self.metric = DetectionMetric(loader.dataset.annotations, self.classes).to(self.device)
        self.sums = torch.zeros(len(SUMS), device=self.device)

    def validation_step(self, batch: Batch, batch_index: int) -> Detections:
        return self.score(batch)

    def test_step(self, batch: Batch, batch_index: int) -> Detections:
        return self.score(batch)

    def score(self, batch: Batch) -> Detections:
        predictions = self.network(batch["images"])
        detections = self.detect(predictions, self.network.anchors)
        self.metric.update(detections, batch["indices"])
        if self.loss:
            self.sums += self.loss_sums(predictions, batch)
        return detections

    def loss_sums(self, predictions: Predictions, batch: Batch) -> Tensor:
        once = batch["indices"] >= 0  # repeats, which even out the devices' shares, count nowhere
        batch = {name: batch[name][once] for name in ("boxes", "labels")}
        predictions = Predictions(*(column[once] for column in predictions))
        losses = self.loss(predictions, batch, self.network.anchors)
        return torch.stack([losses[name].float() for name in SUMS])

    def on_validation_epoch_end(self) -> None:
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        self.log_scores("test")

    def log_scores(self, stage: str) -> None:
        *parts, positives = self.reduced(self.sums)
        scores = {f"{stage}/{name}": value for name, value in self.metric.compute().items()}
        if self.loss:
            scores[f"{stage}/loss"] = float(sum(parts) / positives.clamp(min=1))
        self.scores |= scores
        self.log_dict(scores)

    def check_monitor(self, monitor: str) -> None:
        """Refuse, before training, a metric that no validation will give."""
        known = [f"val/{name}" for name in SUMMARY]  # the higher the better
        known += [f"val/ap/{name}" for name in self.classes]
        if monitor not in known:
            raise ConfigError(f"monitor={monitor}: give one of {', '.join(known)}")

    def scored(self) -> Scored:
        """What the last validation or test found, for files."""
        found, annotations = self.metric.result, self.metric.annotations
        truth = coco_ground_truth(annotations, self.classes)
        return Scored(found.table, coco_results(found.detections), truth)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What `weights.checkpoints.build_network` needs, as plain data."""
        normalize = self.network.normalize
        checkpoint["ssd"] = {
            "format": FORMAT,
            "classes": self.classes,
            "model": self.model,
            "image_size": list(self.network.image_size),
            "normalisation": {
                "mean": normalize.mean.flatten().tolist(),
                "std": normalize.std.flatten().tolist(),
            },
            "detecting": self.detect.keywords,
            "optimizer": type(self.trainer.optimizers[0]).__name__,
        }
