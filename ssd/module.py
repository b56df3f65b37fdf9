"""What happens to a batch: the LightningModule around network, loss and detection."""

import logging
from collections.abc import Callable, Iterable, Sequence
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
from ssd.models.ssd import norms_one_cell
from ssd.ops.detecting import detect
from ssd.optim.parameters import decay_loss, place_steps
from ssd.optim.table import training_table
from ssd.records import Batch, Detections, Predictions
from ssd.report.results import Scored
from ssd.report.speed import DETECTING, LOSS, NETWORK, SCORING, Stopwatch, device_name
from ssd.weights.checkpoints import describe

log = logging.getLogger(__name__)

PARTS = ("class", "box")  # of the loss
SUMS = (*PARTS, "divisor", "positives", "right", "right_positives")  # what a loss returns


class SSDModule(pl.LightningModule):
    """Trains, validates and tests a network.

    loss: None for scoring without one
    detecting: the arguments of `ops.detecting.detect`
    classes: names, without the background
    model: the network's name in `ssd.models` and its arguments, for checkpoints to be used alone
    optimizer: a factory, of (network, may_fuse), see `optim.parameters.make_optimizer`
    scheduler: a factory, of (optimizer, total_steps, steps_per_epoch)
    recipe: plain data on what a resumed run cannot change; goes into its checkpoints
    """

    def __init__(
        self,
        network: SSD,
        loss: nn.Module | None,
        detecting: dict[str, float],
        classes: Sequence[str],
        model: dict[str, Any],
        optimizer: Callable[..., Optimizer] | None,
        scheduler: Callable[[Optimizer, int, float], LRScheduler] | None,
        recipe: dict[str, Any],
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
        self.recipe = recipe
        self.window: Tensor | int = 0  # SUMS of the parts accumulated so far
        self.images = 0  # of those parts, over all devices
        self.total_steps = float("inf")
        self.measured = False  # whether this step's norms are logged
        self.scores: dict[str, float] = {}  # of the last validation and test, in full precision

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.make_optimizer(self.network, may_fuse=self.may_fuse)
        log.info("%s", training_table(self.network, optimizer))
        log.info("%s", computing(self.trainer, self.network, optimizer))
        self.options = [
            {name: value for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]
        steps_per_epoch = self.trainer.datamodule.steps_per_epoch
        self.total_steps = total_steps(self.trainer, int(steps_per_epoch))
        scheduler = self.make_scheduler(optimizer, self.total_steps, steps_per_epoch)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @property
    def may_fuse(self) -> bool:
        """Whether the optimizer may be fused. Such a one takes the scale off the gradients itself:
        Lightning refuses to clip them then, and in 16-mixed their norm would be logged scaled."""
        precision, clips = self.trainer.precision, self.trainer.gradient_clip_val
        return precision == "32-true" or (precision == "bf16-mixed" and not clips)

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
        shares = self.parts * self.trainer.world_size
        batch_size = self.trainer.datamodule.batch_size
        if batch_size == shares and norms_one_cell(self.network):
            raise ConfigError(
                f"data.batch_size={batch_size} is one image at a time in this run, and a batch "
                "norm over one cell of one image learns nothing; give more images, fewer "
                "accumulated parts or devices, or a larger model.image_size"
            )
        if shares > 1 and self.loss.mines_over_batch:
            log.warning(
                "loss.mining works over each of the %d parts of a step, not over all its images",
                shares,
            )

    def on_train_start(self) -> None:
        """The optimizer's numbers and form that are asked for now: a checkpoint restores its own
        run's."""
        schedule, groups = self.lr_schedulers(), self.optimizers().param_groups
        for group, options in zip(groups, self.options, strict=True):
            group.update({**options, "lr": group["lr"]})
        place_steps(self.optimizers(use_pl_optimizer=False))
        if isinstance(schedule, LambdaLR):
            schedule.base_lrs = [options["lr"] for options in self.options]
            for group, base, factor in zip(
                groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
            ):
                group["lr"] = base * factor(schedule.last_epoch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        losses = self.loss(self.network(batch["images"]), batch, self.network.anchors)
        sums = self.reduced(torch.stack([losses[name].detach().float() for name in SUMS]))
        self.window = self.window + sums
        self.images += len(batch["images"]) * self.trainer.world_size
        total = sum(losses[part] for part in PARTS)
        if self.parts > 1:  # what there is to divide by is known at the last part
            return total * self.trainer.world_size * self.parts  # Lightning divides by the parts
        divisor = sums[SUMS.index("divisor")].clamp(min=1)
        return total * self.trainer.world_size / divisor  # DDP takes the mean over the devices

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Accumulated sums to a mean over the whole step and all devices."""
        losses, sums = self.losses, dict(zip(SUMS, self.window, strict=True))
        images, self.window, self.images = self.images, 0, 0
        divisor, positives = sums["divisor"].clamp(min=1), sums["positives"]
        if self.parts > 1:
            torch._foreach_div_(self.gradients, divisor)
        self.log_dict({"train/loss": sum(losses.values()), **losses})
        self.log_dict(
            {
                "train/positives": positives / images,
                "train/accuracy": sums["right"] / (images * len(self.network.anchors)),
                "train/accuracy_positives": sums["right_positives"] / positives.clamp(min=1),
                # filled there: a number copied to a GPU would wait for it
                "train/lr": divisor.new_full((), self.rate(optimizer)),
            }
        )
        # clipped gradients could not be measured later
        self.measured = self.due or bool(self.trainer.gradient_clip_val)
        if self.measured:
            self.log_norms(optimizer)

    def on_train_batch_end(self, *_: Any) -> None:
        """The step that a run is stopped at is logged, due or not; its decay is then of the weights
        after it."""
        if self.trainer.should_stop and not self.measured:
            self.log_norms(self.optimizers(use_pl_optimizer=False))

    @property
    def due(self) -> bool:
        """Whether it is known that this step will be logged."""
        step = self.trainer.global_step + 1
        return step % self.trainer.log_every_n_steps == 0 or step >= self.total_steps

    @property
    def losses(self) -> dict[str, Tensor]:
        """The parts of the loss, as means over what the step has seen so far on all devices."""
        sums = dict(zip(SUMS, self.window, strict=True))
        divisor = sums["divisor"].clamp(min=1)
        return {f"train/loss_{name}": sums[name] / divisor for name in PARTS}

    @property
    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.network.parameters() if p.grad is not None]

    def log_norms(self, optimizer: Optimizer) -> None:
        """What takes a walk over all weights, and so is computed only to be logged."""
        norm = nn.utils.get_total_norm(self.gradients)
        self.log_dict({"train/loss_decay": decay_loss(optimizer), "train/grad_norm": norm})

    def rate(self, optimizer: Optimizer) -> float:
        """The optimizer's own, which no factor on some of the weights touches."""
        pairs = zip(optimizer.param_groups, self.options, strict=True)
        group, options = max(pairs, key=lambda pair: pair[1]["lr"])
        return optimizer.defaults["lr"] * group["lr"] / options["lr"] if options["lr"] else 0.0

    def reduced(self, sums: Tensor) -> Tensor:
        """The sum over all devices, in place."""
        if self.trainer.world_size > 1:  # the strategy's own would wait at a barrier first
            torch.distributed.all_reduce(sums)
        return sums

    def on_validation_start(self) -> None:
        self.start_scoring(self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        self.start_scoring(self.trainer.test_dataloaders)

    def start_scoring(self, loader: Iterable[Batch]) -> None:
        self.metric = DetectionMetric(loader.dataset.annotations, self.classes).to(self.device)
        self.sums = torch.zeros(len(SUMS), device=self.device)
        self.dataset = loader.dataset
        self.stopwatch = Stopwatch(self.device)

    def validation_step(self, batch: Batch, batch_index: int) -> Detections:
        return self.score(batch)

    def test_step(self, batch: Batch, batch_index: int) -> Detections:
        return self.score(batch)

    def score(self, batch: Batch) -> Detections:
        self.stopwatch.begin(len(batch["images"]))
        predictions = self.network(batch["images"])
        self.stopwatch.lap(NETWORK)
        detections = self.detect(predictions, self.network.anchors)
        self.stopwatch.lap(DETECTING)
        self.metric.update(detections, batch["indices"])
        if self.loss:
            self.sums += self.loss_sums(predictions, batch)
        self.stopwatch.lap(LOSS)
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
        sums = dict(zip(SUMS, self.reduced(self.sums), strict=True))
        scores = {f"{stage}/{name}": value for name, value in self.metric.compute().items()}
        self.stopwatch.lap(SCORING)
        if self.loss:
            total = sum(sums[name] for name in PARTS)
            scores[f"{stage}/loss"] = float(total / sums["divisor"].clamp(min=1))
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
        return Scored(
            classes=self.classes,
            summary=found.summary,
            table=found.table,
            curves=found.curves,
            annotations=annotations,
            detections=found.detections,
            predictions=coco_results(found.detections),
            ground_truth=truth,
            dataset=self.dataset,
            stopwatch=self.stopwatch,
        )

    def described(self) -> dict[str, Any]:
        """What scores depend on, for people."""
        height, width = self.network.image_size
        detecting = ", ".join(f"{name} {value}" for name, value in self.detect.keywords.items())
        device, many = device_name(self.device), self.trainer.world_size
        return {
            "model": self.model["name"],
            "input": f"{height}x{width}",
            "detections": detecting.replace("_", " "),
            "precision": self.trainer.precision,
            "device": device if many == 1 else f"{many} x {device}",
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What `weights.checkpoints.build_network` needs, as plain data."""
        checkpoint["ssd"] = describe(self.network, self.classes, self.model, self.detect.keywords)
        checkpoint["recipe"] = self.recipe


def total_steps(trainer: pl.Trainer, steps_per_epoch: int) -> float:
    """Optimizer steps of the whole run, as its limits in steps and epochs have them.

    Lightning's own estimate would open the training data, and a resumed run, which knows its place
    in them only later, would start their epoch over.
    """
    steps = float("inf") if trainer.max_steps == -1 else trainer.max_steps
    epochs = float("inf") if trainer.max_epochs in (None, -1) else trainer.max_epochs
    return min(steps, epochs * steps_per_epoch)


def computing(trainer: pl.Trainer, network: SSD, optimizer: Optimizer) -> str:
    """In which form the steps will be computed, in words."""
    fused = "fused" if optimizer.param_groups[0].get("fused") else "not fused"
    compiled = "compiled" if network._compiled_call_impl else "not compiled"
    return (
        f"computes in {trainer.precision}, channels_last; "
        f"{type(optimizer).__name__} is {fused}, the network {compiled}"
    )
