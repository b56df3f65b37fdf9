from pathlib import Path

import pytest
from pytorch_lightning.loggers import TensorBoardLogger
from tiny import Tiny, fit, rows

from ssd.callbacks.loggers import outlived
from ssd.callbacks.metrics_file import MetricsFile


class Down(TensorBoardLogger):
    """Its server goes after three steps."""

    asked = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.asked += 1
        if step == 3:
            raise OSError("no space left on device")


def test_a_logger_that_fails_is_left_alone_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    down, up = outlived([Down(tmp_path), TensorBoardLogger(tmp_path / "up")])
    loggers = [MetricsFile(tmp_path, keep_until=None), down, up]
    assert fit(Tiny(), max_steps=8, logger=loggers).global_step == 8
    said = [record.message for record in caplog.records if "gets nothing more" in record.message]
    assert said == [
        "Down failed and gets nothing more; metrics.csv has all: no space left on device"
    ]
    assert down.asked == 4
    assert [*(tmp_path / "up").rglob("events*")]
    assert len(rows(tmp_path / "metrics.csv")) == 8
