"""SIGTERM, Ctrl-C and SLURM's signal: a run ends after the step at work, with a checkpoint."""

import os
import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import SIGTERMException

from ssd.callbacks.checkpoints import mid_step

NOTE = "{}: stops after this step{}; Ctrl-C again stops at once\n"


class StopAtSignal(pl.Callback):
    """Ends the run where a signal finds it, on all devices at the same step: `LastCheckpoint` saves
    on the way out, and the exit code is 128 and the signal's number, 143 or 130.

    A validation is not waited for: a resumed run makes it, from its first image on. The second
    Ctrl-C stops at once.

    In place of Lightning's own handlers: that of SIGTERM speaks to the other devices from wherever
    it strikes (Lightning-AI/pytorch-lightning pull request 20825), so that all hang where one alone
    gets the signal; that of SLURM saves in the middle of a step, also from a data worker; and
    Ctrl-C is raised anywhere and saves nothing.
    """

    def __init__(self) -> None:
        self.received = 0  # the number of a signal
        self.speaks = self.saves = False

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.received, self.speaks = 0, trainer.is_global_zero
        self.saves = trainer.state.fn == "fit"
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other listen; nor does Lightning there
        for number in signals(trainer):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells set it
                signal.signal(number, self.receive)  # until Lightning's teardown

    def on_test_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.agreed(trainer):  # it came when there was nothing left to train
            raise SIGTERMException
        self.on_train_start(trainer)

    def receive(self, number: int, _: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.speaks and not self.received:  # print and logging may be what it interrupts
            saves = " and saves" if self.saves else ""
            os.write(2, NOTE.format(signal.Signals(number).name, saves).encode())
        self.received = number

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not mid_step(trainer):
            self.heed(trainer)

    def heed(self, trainer: pl.Trainer, *_: Any) -> None:
        """Have Lightning end the run, once it has logged this step, where a device got a signal."""
        self.received = self.agreed(trainer)
        if self.received:
            trainer._signal_connector.received_sigterm = True

    on_validation_batch_end = on_test_batch_end = heed

    def agreed(self, trainer: pl.Trainer) -> int:
        """The signal of any device, the same on all. It makes no GPU wait that would not: Lightning
        itself waits for all devices before every batch, to tell them of a SIGTERM to the first."""
        if trainer.world_size == 1:
            return self.received
        found = torch.tensor(self.received, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    def on_exception(self, trainer: pl.Trainer, _: pl.LightningModule, error: Any) -> None:
        if not (self.received and isinstance(error, SIGTERMException)):
            return
        error.code = 128 + self.received  # it is a SystemExit
        if trainer.state.fn == "fit" and trainer.validating:
            begin_again(trainer)
        release_first_device()


def signals(trainer: pl.Trainer) -> list[int]:
    """Those that end a run; under SLURM also the one after which the job is queued again."""
    environment = trainer._accelerator_connector.cluster_environment
    requeues = isinstance(environment, SLURMEnvironment) and environment.auto_requeue
    return [signal.SIGTERM, signal.SIGINT, *([environment.requeue_signal] if requeues else [])]


def begin_again(trainer: pl.Trainer) -> None:
    """Let a checkpoint say that its validation has begun, and seen no image: Lightning then makes
    it first; from the one it had come to, without what those before had found."""
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    progress.reset()
    progress.increment_ready()
    progress.increment_started()


def release_first_device() -> None:
    """Lightning's watcher kills the process of the first device, perhaps before it has left, when
    another has ended with a code, as all do now."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._termination_signal = 0  # a signal that does nothing
