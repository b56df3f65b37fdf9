import sys
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.utilities.exceptions import SIGTERMException

from ssd import cli
from ssd.errors import ConfigError


def test_an_error_in_a_worker_is_the_workers_own_message() -> None:
    message = (
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 1\nValueError: a.jpg: damaged image (truncated)\n'
    )
    assert cli.one_line(ValueError(message)) == "a.jpg: damaged image (truncated)"


def test_a_message_of_several_lines_becomes_one() -> None:
    error = ValueError("Could not override 'a.b'.\n  Key 'b' is not in struct\n    full_key: a.b")
    assert cli.one_line(error) == "Could not override 'a.b'. Key 'b' is not in struct"


def test_a_process_that_lost_another_says_so() -> None:
    assert cli.is_users(RuntimeError("gloo: Connection closed by peer [127.0.0.1]:1234"))
    assert not cli.is_users(RuntimeError("a fault of the program"))


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as where it is not installed
    with pytest.raises(InstantiationException) as raised:
        instantiate({"_target_": "timm.optim.RMSpropTF", "_partial_": True})
    cause = cli.unwrapped(raised.value)
    assert cli.is_users(cause)
    assert cli.one_line(cause) == "timm is missing: pip install -r requirements-extras.txt"


def test_a_missing_logger_says_what_to_install() -> None:
    error = ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met. HINT: Try running …")
    assert cli.is_users(error)
    assert cli.one_line(error) == "wandb is missing: pip install -r requirements-extras.txt"


def test_configuration_errors_end_with_2() -> None:
    error = ConfigError("data.batch_size=0: give at least 1")
    assert cli.exit_code(error, error) == 2


def test_other_errors_end_with_1() -> None:
    error = ValueError("a.xml: not XML")
    assert cli.exit_code(error, error) == 1


def test_signals_have_their_own_exit_codes() -> None:
    interrupted = SystemExit(1)  # how Lightning ends after Ctrl-C
    interrupted.__context__ = KeyboardInterrupt()
    assert cli.signal_code(interrupted) == 130
    assert cli.signal_code(SIGTERMException()) == 143
    assert cli.signal_code(SystemExit(0)) == 0


def test_a_resumed_run_takes_its_own_overrides_under_the_new_ones(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    stored = ["data=voc", "trainer.max_steps=10", "resume=latest"]
    OmegaConf.save(OmegaConf.create(stored), tmp_path / ".hydra" / "overrides.yaml")
    words = [f"hydra.run.dir={tmp_path}", "resume=latest", "trainer.max_steps=20"]
    assert cli.with_own_overrides(words) == ["data=voc", *words]


def test_flags_of_a_resumed_run_stay_before_its_own_overrides(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create(["data=voc"]), tmp_path / ".hydra" / "overrides.yaml")
    words = [f"hydra.run.dir={tmp_path}", "resume=latest"]
    flags = ["--config-dir", "own"]
    assert cli.with_own_overrides([*flags, *words]) == [*flags, "data=voc", *words]


def test_a_run_that_does_not_resume_takes_no_overrides(tmp_path: Path) -> None:
    words = [f"hydra.run.dir={tmp_path}", "seed=1"]
    assert cli.with_own_overrides(words) == words


@pytest.mark.parametrize("value", ["abc", None, True, -1])
def test_a_number_must_be_one_and_large_enough(value: object) -> None:
    cfg = OmegaConf.create({"optimizer": {"lr": value}})
    with pytest.raises(ConfigError, match=r"optimizer\.lr=.*: give a number of at least 0"):
        cli.at_least(cfg, {"optimizer.lr": 0})
