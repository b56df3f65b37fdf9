"""metrics.csv: every logged number of a run, whatever other loggers there are."""

import csv
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

Row = dict[str, str]


class MetricsFile(Logger):
    """Writes run_dir/metrics.csv: a row for each step that logged, a column for each metric.

    Steps count from 0, as in Lightning's other loggers: the row of the first step says 0. A run
    that resumes at step N gives `keep_until=N` and goes on after the rows before it; `None` starts
    a new file. Nothing stays in memory only: a killed run has all its rows.
    """

    def __init__(self, run_dir: str | Path, keep_until: int | None) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.csv"
        self.keep_until = keep_until
        self.columns: list[str] = []
        self.last: Row = {}

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's configuration lies beside the file, in .hydra/."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        numbers = {name: repr(float(value)) for name, value in metrics.items() if name != "epoch"}
        row = {"step": str(step or 0), **numbers}
        if "epoch" in metrics:
            row["epoch"] = str(int(metrics["epoch"]))
        if not self.columns:
            self.open()
        known = self.last.get("step") == row["step"]
        if known and row.items() <= self.last.items():
            return
        if known or not row.keys() <= set(self.columns):
            self.rewrite(row, known)
        else:
            self.append(row)
        self.last = {**self.last, **row} if known else row

    def open(self) -> None:
        """Start the file, with the rows to keep."""
        rows = [] if self.keep_until is None else read_rows(self.path)
        kept = [row for row in rows if int(row["step"]) < (self.keep_until or 0)]
        self.columns = [*kept[0]] if kept else ["step", "epoch"]
        self.last = kept[-1] if kept else {}  # which a validation that was stopped joins
        self.replace(kept)

    def rewrite(self, row: Row, known: bool) -> None:
        """Write the file again with `row`: as part of the last row, or with its new columns."""
        rows = read_rows(self.path)
        if known:
            row = {**rows.pop(), **row}
        self.columns += [name for name in row if name not in self.columns]
        self.replace([*rows, row])

    def replace(self, rows: list[Row]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".csv.tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def append(self, row: Row) -> None:
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)

    @rank_zero_only
    def sync(self) -> None:
        if self.columns:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())


def log_step(trainer: pl.Trainer) -> None:
    """Write the row of the step that ends, before a checkpoint of it is saved. Lightning logs a
    step after its callbacks: a kill in between would leave a gap where the run goes on."""
    connector = trainer._logger_connector
    if connector.should_update_logs:
        row = {**connector.metrics["log"], "epoch": trainer.current_epoch}
        for file in files(trainer):
            file.log_metrics(row, trainer.fit_loop.epoch_loop._batches_that_stepped)


def sync_rows(trainer: pl.Trainer) -> None:
    """Put the rows on the disk: a checkpoint there outlives a machine, so they must."""
    for file in files(trainer):
        file.sync()


def files(trainer: pl.Trainer) -> list[MetricsFile]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsFile)]


def read_rows(path: Path) -> list[Row]:
    """The rows of the file, none where there is none; without a last line that a kill cut off."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        whole = [line for line in file if line.endswith("\n")]
    return [*csv.DictReader(whole)]
