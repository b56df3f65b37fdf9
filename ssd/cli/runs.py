"""What a run folder knows: the configuration and the data of the run that left a checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ssd.cli.configuration import plain
from ssd.errors import ConfigError

STAGES = ("train", "val", "test")
CONF = Path(__file__).parent.parent.parent / "conf"


def data_config(
    cfg: DictConfig, run: DictConfig | None, checkpoint: Path, classes: list[str]
) -> DictConfig:
    """The data set to score on: `data=`, or that of the run folder that the checkpoint lies in."""
    from ssd.data.naming import read_classes

    if cfg.split not in STAGES:
        raise ConfigError(f"split={cfg.split}: give one of {', '.join(STAGES)}")
    if not cfg.get("data"):
        return run_data(cfg, run, checkpoint)
    cfg.data_dir = cfg.data_dir or "data"  # as in train.yaml
    given = read_classes(plain(cfg.data)["classes"])
    if given and given != classes:
        raise ConfigError(f"data.classes={given}, but the checkpoint was trained on {classes}")
    return cfg.data


def run_config(checkpoint: Path) -> DictConfig | None:
    """The configuration of the run folder that a checkpoint lies in, if it lies in one."""
    file = checkpoint.parent.parent / ".hydra" / "config.yaml"
    return OmegaConf.load(file) if file.is_file() else None


def run_data(cfg: DictConfig, run: DictConfig | None, checkpoint: Path) -> DictConfig:
    """The data group that a run was trained with; paths are relative to where it was started."""
    if run is None:
        raise ConfigError(f"{checkpoint} lies in no run folder; say on what to score it: data=…")
    add_new_keys(run.data)
    if cfg.data_dir is not None:
        run.data_dir = str(Path(cfg.data_dir).absolute())
    hydra_file = checkpoint.parent.parent / ".hydra" / "hydra.yaml"
    started_in = Path(OmegaConf.load(hydra_file).hydra.runtime.cwd)
    for part in (run.data, *run.data.more):
        part.root = str(started_in / Path(part.root).expanduser())
    return run.data


def add_new_keys(data: DictConfig) -> None:
    """Give a run's data group the defaults of keys that came after the run."""
    today = OmegaConf.load(CONF / "data" / "voc.yaml")  # which all options of the group begin with
    for key in today.keys() - data.keys():
        data[key] = today[key]


def names_apart(checkpoints: Sequence[Path]) -> list[str]:
    """A short name for each checkpoint, and for a folder of its own: that of its run folder, or of
    its file where that tells them apart; no two are the same."""
    files = [path.stem for path in checkpoints]
    runs = [
        path.absolute().parent.parent.name if run_config(path) else path.stem
        for path in checkpoints
    ]
    both = [f"{run}_{file}" for run, file in zip(runs, files, strict=True)]
    numbered = [f"{number}_{file}" for number, file in enumerate(files, start=1)]
    choices = (runs, files, both, numbered)
    return next(names for names in choices if len({*names}) == len(names))
