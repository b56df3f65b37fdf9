"""The best checkpoint of a run: best.ckpt."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from ssd.weights.resuming import step_of


class BestCheckpoint(ModelCheckpoint):
    """Keeps best.ckpt, the state at the best validation; the earlier of two equal ones."""

    def __init__(self, dirpath: str | Path, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,  # a resumed run writes best.ckpt, not best-v1.ckpt
            save_on_train_epoch_end=False,  # at validations, which are when `monitor` is new
        )
        self.best_step = 0

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Whether the score is the best so far. Lightning would keep a first nan for ever."""
        if current is not None and current.isnan():
            return False
        best = super().check_monitor_top_k(trainer, current)
        if best:
            self.best_step = trainer.global_step
        return best

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, also in a run folder that was moved or copied.

        Lightning drops the score where the folder has another name, and the first validation
        would replace a better best.ckpt. Without a best.ckpt here there is nothing to protect: a
        run that starts from another run's checkpoint finds its own best. So does one whose
        best.ckpt is damaged, or of a step that this run did not score best at.
        """
        best = os.path.join(self.dirpath, os.path.basename(state_dict["best_model_path"]))
        step = step_of(Path(best)) if os.path.isfile(best) else None
        # older checkpoints do not tell their best's step
        if step is None or step != state_dict.get("best_step", step):
            return
        self.best_step = step
        score = state_dict["best_model_score"]
        moved = {"dirpath": self.dirpath, "best_model_path": best, "kth_best_model_path": best}
        super().load_state_dict({**state_dict, **moved, "best_k_models": {best: score}})
