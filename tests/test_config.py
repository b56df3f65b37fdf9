"""Configurations and documented commands are code: every option binds, every command composes."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torch import nn
from verbs import SMALL, last, run

from ssd.cli import compile_network

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
VERBS = ("train", "evaluate", "predict", "export", "doctor", "demo")
OPTIONS = sorted(path.relative_to(CONF) for path in CONF.glob("*/**/*.yaml"))
DOCUMENTS = [ROOT / "README.md", *sorted(CONF.rglob("*.yaml")), *sorted(ROOT.glob("docs/*.md"))]
BUILT_IN_CODE = {  # arguments that the verbs add to what the configuration says
    "model": {"num_classes"},
    "data": {"augmentation", "image_size", "seed"},
    "optimizer": {"params"},
    "scheduler": {"optimizer", "total_steps", "steps_per_epoch"},
    "loss/mining": {"losses", "positive"},
    "loss/box": {"offsets", "boxes", "anchors"},
}
NEEDED = {"two_stage": ["init.checkpoint=RUN"]}
WHOLE = ("model", "data", "loss", "loss/classes", "loss/mining", "loss/box", "augmentation/crop")


def composed(verb: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(verb, overrides)


def targets(node: DictConfig) -> Iterator[DictConfig]:
    """Every part with a `_target_`, at any depth."""
    if "_target_" in node:
        yield node
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from targets(child)


def option(path: Path) -> tuple[str, DictConfig]:
    """The group of an option, and its composed part, in the verb that uses it."""
    group = path.parent.as_posix()
    verb = "evaluate" if path.stem == "evaluate" else "train"
    cfg = composed(verb, [f"{group}={path.stem}", *NEEDED.get(path.stem, [])])
    return group, cfg if group == "experiment" else OmegaConf.select(cfg, group.replace("/", "."))


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(verb, overrides) of every `python VERB.py …` in a document."""
    for verb, line in re.findall(
        r"python (\w+)\.py((?: +(?:-m|[^\s`]+=[^\s`]+))*)", path.read_text()
    ):
        if verb in VERBS:
            yield verb, shlex.split(line)


@pytest.mark.parametrize("path", OPTIONS, ids=str)
def test_an_option_fits_its_target(path: Path) -> None:
    group, option_node = option(path)
    for node in targets(option_node):
        if node._target_.startswith("timm."):
            pytest.importorskip("timm")
        if node._target_ == "datetime.timedelta":  # of C, without a signature
            get_object(node._target_)(**{key: node[key] for key in node if key != "_target_"})
            continue
        signature = inspect.signature(get_object(node._target_))
        given = {key for key in node if key not in ("_target_", "_partial_")}
        added = BUILT_IN_CODE.get(group, set()) if node is option_node else set()
        signature.bind_partial(**dict.fromkeys(given | added))


@pytest.mark.parametrize("path", [p for p in OPTIONS if p.parent.as_posix() in WHOLE], ids=str)
def test_an_option_gives_all_that_its_target_needs(path: Path) -> None:
    group, node = option(path)
    given = {key for key in node if not key.startswith("_")} | BUILT_IN_CODE.get(group, set())
    inspect.signature(get_object(node._target_)).bind(**dict.fromkeys(given))


@pytest.mark.parametrize("path", OPTIONS, ids=str)
def test_a_knob_in_yaml_has_no_default_in_our_code(path: Path) -> None:
    for node in targets(option(path)[1]):
        if not node._target_.startswith("ssd."):
            continue
        signature = inspect.signature(get_object(node._target_))
        for name, parameter in signature.parameters.items():
            assert name not in node or parameter.default is inspect.Parameter.empty, name


def test_every_run_wide_key_is_read() -> None:
    """A key that nothing reads changes nothing."""
    for verb in VERBS:
        own = OmegaConf.load(CONF / f"{verb}.yaml")
        code = (ROOT / f"{verb}.py").read_text()
        configs = "".join(path.read_text() for path in CONF.rglob("*.yaml"))
        for key in set(own) - {"defaults", "hydra"}:
            read = (f"cfg.{key}", f'"{key}"')
            assert any(word in code for word in read) or f"${{{key}}}" in configs, key


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_compose(path: Path) -> None:
    for verb, words in commands(path):
        overrides = [word for word in words if word != "-m"]
        composed(verb, of_first_run(overrides) if "-m" in words else overrides)


def of_first_run(words: list[str]) -> list[str]:
    """The overrides of a sweep's first run."""
    parsed = OverridesParser.create().parse_overrides(words)
    return [
        f"{one.get_key_element()}={next(one.sweep_string_iterator())}"
        if one.is_sweep_override()
        else word
        for one, word in zip(parsed, words, strict=True)
    ]


def test_commands_are_found_in_the_readme() -> None:
    found = list(commands(ROOT / "README.md"))
    assert len(found) >= 10
    assert any("-m" in words for _, words in found)


def test_an_experiment_says_its_command_and_its_score() -> None:
    for path in (CONF / "experiment").glob("*.yaml"):
        text = path.read_text()
        assert f"python train.py experiment={path.stem}" in text
        assert re.search(r"mAP|measured", text)


def test_experiments_are_the_papers_recipe() -> None:
    cfg = composed("train", ["experiment=ssd300_voc0712"])
    assert cfg.trainer.max_steps == 120_000
    assert (cfg.optimizer.lr, cfg.optimizer.momentum, cfg.optimizer.weight_decay) == (
        1e-3,
        0.9,
        5e-4,
    )
    assert list(cfg.scheduler.milestones) == [80_000, 100_000]
    assert (cfg.data.batch_size, cfg.model.image_size) == (32, 300)


def test_several_loggers_stand_side_by_side() -> None:
    assert set(composed("train", ["logger=[tensorboard,wandb]"]).logger) == {"tensorboard", "wandb"}


@pytest.mark.parametrize("chosen", ["true", "{backend:eager}", "{mode:reduce-overhead}"])
def test_the_key_compile_compiles_in_place(chosen: str) -> None:
    network = nn.Linear(2, 2)
    compile_network(network, composed("train", [f"compile={chosen}"]).compile)
    assert network._compiled_call_impl is not None
    assert network.state_dict().keys() == {"weight", "bias"}


def test_nothing_is_compiled_by_itself() -> None:
    network = nn.Linear(2, 2)
    for words in ([], ["compile=false"]):
        compile_network(network, composed("train", words).compile)
    assert network._compiled_call_impl is None


def test_a_compiled_run_leaves_checkpoints_of_the_usual_names(root: Path, tmp_path: Path) -> None:
    words = [f"data.root={root}", "compile={backend:eager}", f"hydra.run.dir={tmp_path}"]
    assert run("train", *SMALL, *words) == 0
    assert "the network compiled" in (tmp_path / "train.log").read_text()
    names = last(tmp_path)["state_dict"]
    assert "network.heads.0.classify.weight" in names
    assert not any("_orig_mod" in name for name in names)
