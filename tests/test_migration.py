"""Every line of the migration page composes, and every default that it names is the default."""

import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from test_config import CONF, composed

PAGE = (Path(__file__).parent.parent / "docs" / "migration.md").read_text()
FLAGS = """
loss_alpha negative_ratio match_threshold label_smoothing weight_decay train_dir num_clones
clone_on_cpu num_readers num_preprocessing_threads gpu_memory_fraction log_every_n_steps
save_summaries_secs save_interval_secs optimizer adadelta_rho adagrad_initial_accumulator_value
adam_beta1 adam_beta2 opt_epsilon ftrl_learning_rate_power ftrl_initial_accumulator_value ftrl_l1
ftrl_l2 momentum rmsprop_momentum rmsprop_decay learning_rate_decay_type learning_rate
end_learning_rate learning_rate_decay_factor num_epochs_per_decay moving_average_decay dataset_name
num_classes dataset_split_name dataset_dir labels_offset model_name preprocessing_name batch_size
train_image_size max_number_of_steps checkpoint_path checkpoint_model_scope
checkpoint_exclude_scopes trainable_scopes ignore_missing_vars
select_threshold select_top_k keep_top_k nms_threshold matching_threshold eval_resize
eval_image_size remove_difficult max_num_batches eval_dir wait_for_checkpoints
output_name output_dir caffemodel_path
"""  # train_ssd_network.py, eval_ssd_network.py, tf_convert_data.py, caffe_to_tensorflow.py
GROUPS = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_dir()}


def rows() -> list[tuple[str, str, str, str]]:
    """(verb, flag, overrides, today's default) of each line of the page's tables of flags."""
    found = []
    for section in PAGE.split("\n## ")[1:]:
        verb = "evaluate" if section.startswith("Evaluation") else "train"
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("|") and len(cells) == 4 and cells[2].startswith("`"):
                found.append((verb, cells[0], cells[2].strip("`"), cells[3].strip("`")))
    return found


def chosen(verb: str, overrides: list[str], group: str) -> str:
    """The option of a group, nested or not, that the defaults lists end with."""
    folder, _, name = group.rpartition("/")
    file = CONF / folder / f"{option_of(verb, overrides, folder)}.yaml" if folder else None
    defaults = OmegaConf.load(file or CONF / f"{verb}.yaml").defaults
    return next(entry[name] for entry in defaults if entry != "_self_" and name in entry)


def option_of(verb: str, overrides: list[str], group: str) -> str:
    given = dict(word.split("=", 1) for word in overrides)
    return given.get(group) or chosen(verb, overrides, group)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[1].strip("`"))
def test_a_line_composes_and_its_default_is_ours(row: tuple[str, str, str, str]) -> None:
    verb, _, here, default = row
    words = here.split()
    cfg = composed(verb, words)
    for word in words:
        key, _, value = word.partition("=")
        if key not in GROUPS and not key.startswith("hydra."):
            assert OmegaConf.select(cfg, key) == yaml_value(value), word
    if not default:
        return
    key = words[-1].partition("=")[0]
    if key in GROUPS:
        assert chosen(verb, words[:-1], key) == default
    else:
        groups = [word for word in words if word.partition("=")[0] in GROUPS]
        needed = [word for word in words[:-1] if word.startswith("data.root=")]
        assert OmegaConf.select(composed(verb, groups + needed), key) == yaml_value(default)


def yaml_value(text: str) -> object:
    """What Hydra makes of an override's value."""
    value = yaml.safe_load(text)
    if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+e[-+]?\d+", value):
        return float(value)  # YAML 1.1 wants a dot in 1e-3; Hydra does not
    return value


def test_the_page_holds_every_flag_of_the_old_trainer() -> None:
    missing = [flag for flag in FLAGS.split() if f"`--{flag}`" not in PAGE]
    assert not missing
