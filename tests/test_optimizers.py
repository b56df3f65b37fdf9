"""The options of conf/optimizer against 20 steps of TensorFlow, and against each other."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torch.optim import Optimizer

from ssd.errors import ConfigError
from ssd.optim.parameters import fastest, place_steps

OPTIONS = Path(__file__).parent.parent / "conf" / "optimizer"
STORED = json.loads((Path(__file__).parent / "tf_optimizers.json").read_text())
START = torch.tensor(STORED["w0"])
GRADIENTS = torch.tensor(STORED["G"])
RATES = STORED["LR"]

TENSORFLOWS = {  # stored run: option, its keys
    "adadelta": ("adadelta", {"eps": 1.0}),
    "adagrad": ("adagrad", {}),
    "adam": ("tf_adam", {}),
    "adam_eps1": ("tf_adam", {"eps": 1.0}),
    "ftrl": ("ftrl", {"initial_accumulator_value": 0.1}),
    "ftrl_l1l2": (
        "ftrl",
        {"lr_power": -0.7, "initial_accumulator_value": 0.2, "l1": 0.5, "l2": 0.3},
    ),
    "ftrl_l2_05": ("ftrl", {"initial_accumulator_value": 0.1, "l2": 0.3}),
    "momentum": ("momentum", {}),
    "nesterov": ("momentum", {"nesterov": True}),
    "rmsprop": ("tf_rmsprop", {"eps": 1.0}),
}
FUSED = ("adagrad", "adam", "adamw", "momentum", "sgd")
COUPLED = sorted({path.stem for path in OPTIONS.glob("*.yaml")} - {"adamw"})


def factory(option: str, **keys: Any) -> Callable[..., Optimizer]:
    if option == "tf_rmsprop":
        pytest.importorskip("timm")
    return instantiate(OmegaConf.load(OPTIONS / f"{option}.yaml"), _convert_="all", **keys)


def walk(
    optimizer: Optimizer, steps: range, gradient: Callable[[int, Tensor], Tensor] | None = None
) -> Tensor:
    """The weights after each step, (steps, 6)."""
    [weight] = optimizer.param_groups[0]["params"]
    path = []
    for step in steps:
        optimizer.param_groups[0]["lr"] = RATES[step]
        weight.grad = gradient(step, weight.detach()) if gradient else GRADIENTS[step].clone()
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


def start(make: Callable[..., Optimizer], weights: Tensor = START) -> Optimizer:
    return make([torch.nn.Parameter(weights.clone())])


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_every_stored_run_is_tested() -> None:
    assert TENSORFLOWS.keys() == STORED["R"].keys()


@pytest.mark.parametrize("name", TENSORFLOWS)
def test_20_steps_are_tensorflows(name: str) -> None:
    option, keys = TENSORFLOWS[name]
    ours = walk(start(factory(option, **keys)), range(20))
    theirs = torch.tensor(STORED["R"][name])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-6)


def test_torchs_adam_is_not_tensorflows_where_epsilon_is_large() -> None:
    torchs = walk(start(factory("adam", eps=1.0)), range(20))
    assert (torchs - torch.tensor(STORED["R"]["adam_eps1"])).abs().max() > 0.1


@pytest.mark.parametrize("name", TENSORFLOWS)
def test_a_resume_in_the_middle_takes_the_same_steps(name: str) -> None:
    option, keys = TENSORFLOWS[name]
    whole = walk(start(factory(option, **keys)), range(20))
    first = start(factory(option, **keys))
    weights = walk(first, range(10))[-1]
    second = start(factory(option, **keys), weights)
    second.load_state_dict(through_a_file(first.state_dict()))
    assert torch.equal(walk(second, range(10, 20)), whole[10:])


@pytest.mark.parametrize("option", COUPLED)
def test_weight_decay_is_l2_in_the_gradient(option: str) -> None:
    decayed = walk(start(factory(option, weight_decay=0.1)), range(20))
    by_hand = walk(
        start(factory(option, weight_decay=0)),
        range(20),
        lambda step, weight: GRADIENTS[step] + 0.1 * weight,
    )
    torch.testing.assert_close(decayed, by_hand, rtol=0, atol=1e-5)


def test_adamws_weight_decay_is_decoupled_and_times_the_rate() -> None:
    decayed = walk(start(factory("adamw", weight_decay=0.1)), range(1))
    shrunk = start(factory("adamw", weight_decay=0), START * (1 - RATES[0] * 0.1))
    torch.testing.assert_close(decayed, walk(shrunk, range(1)))


@pytest.mark.parametrize("option", ["tf_adam", "ftrl"])
def test_a_step_runs_its_closure_with_gradients_and_returns_the_loss(option: str) -> None:
    optimizer = start(factory(option))
    [weight] = optimizer.param_groups[0]["params"]

    def closure() -> Tensor:
        loss = (weight**2).sum()
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure).detach()) for _ in range(3)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(float((START**2).sum()))


def test_tf_adam_keeps_the_epsilon_of_each_group() -> None:
    weights = [torch.nn.Parameter(START.clone()) for _ in range(2)]
    optimizer = factory("tf_adam")([{"params": weights[:1], "eps": 1.0}, {"params": weights[1:]}])
    for group, weight in zip(optimizer.param_groups, weights, strict=True):
        group["lr"] = RATES[0]
        weight.grad = GRADIENTS[0].clone()
    optimizer.step()
    for weight, name in zip(weights, ("adam_eps1", "adam"), strict=True):
        torch.testing.assert_close(weight.detach(), torch.tensor(STORED["R"][name][0]))


def test_ftrl_keeps_the_weights_where_the_rate_is_zero() -> None:
    optimizer = start(factory("ftrl"))
    [weight] = optimizer.param_groups[0]["params"]
    optimizer.param_groups[0]["lr"] = 0.0
    weight.grad = GRADIENTS[0].clone()
    optimizer.step()
    assert torch.equal(weight.detach(), START)
    path = walk(optimizer, range(20))
    assert path.isfinite().all()


def test_ftrl_forgets_a_weight_without_gradient() -> None:
    assert walk(start(factory("ftrl")), range(1))[0, 5] == 0


@pytest.mark.parametrize(
    "keys", [{"lr_power": 0.5}, {"l1": -1.0}, {"l2": -1.0}, {"initial_accumulator_value": -0.1}]
)
def test_ftrl_refuses_what_has_no_solution(keys: dict[str, float]) -> None:
    [(key, value)] = keys.items()
    with pytest.raises(ConfigError, match=rf"optimizer\.{key}={value}: give at"):
        start(factory("ftrl", **keys))


def test_tf_adam_corrects_a_late_weight_as_tensorflow_does() -> None:
    """One power of each beta for all weights: the late one's first step is its hundredth."""
    early, late = (torch.nn.Parameter(START.clone()) for _ in range(2))
    optimizer = factory("tf_adam", eps=1.0)([early, late])
    for step in range(100):
        early.grad = torch.ones_like(early)
        late.grad = GRADIENTS[0].clone() if step == 99 else None
        optimizer.step()
    rate = optimizer.param_groups[0]["lr"] * math.sqrt(1 - 0.999**100) / (1 - 0.9**100)
    moments = 0.1 * GRADIENTS[0], 0.001 * GRADIENTS[0] ** 2
    expected = START - rate * moments[0] / (moments[1].sqrt() + 1.0)
    torch.testing.assert_close(late.detach(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("option", FUSED)
@pytest.mark.parametrize("keys", [{}, {"weight_decay": 0.1}], ids=str)
def test_20_fused_steps_are_the_plain_ones(option: str, keys: dict[str, float]) -> None:
    plain = walk(start(factory(option, **keys)), range(20))
    optimizer = start(fastest(factory(option, **keys), may_fuse=True))
    assert optimizer.param_groups[0]["fused"]
    torch.testing.assert_close(walk(optimizer, range(20)), plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("option", sorted({path.stem for path in OPTIONS.glob("*.yaml")}))
def test_an_optimizer_is_fused_where_torch_can(option: str) -> None:
    optimizer = start(fastest(factory(option), may_fuse=True))
    assert bool(optimizer.param_groups[0].get("fused")) == (option in FUSED)


@pytest.mark.parametrize(("first", "second"), [(None, True), (True, None)])
@pytest.mark.parametrize("option", FUSED)
def test_fused_and_plain_steps_go_on_from_each_other(
    option: str, first: bool | None, second: bool | None
) -> None:
    whole = walk(start(factory(option)), range(20))
    begun = start(factory(option, fused=first))
    weights = walk(begun, range(10))[-1]
    resumed = start(factory(option, fused=second), weights)
    resumed.load_state_dict(through_a_file(begun.state_dict()))
    resumed.param_groups[0]["fused"] = second
    place_steps(resumed)
    torch.testing.assert_close(walk(resumed, range(10, 20)), whole[10:], rtol=0, atol=1e-6)


def test_counts_of_steps_go_to_the_device_of_fused_weights_alone() -> None:
    """The device "meta" stands for a GPU, which no test needs."""
    weight = torch.nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = torch.optim.AdamW([weight])
    for fused, device in ((True, "meta"), (False, "cpu")):
        optimizer.state[weight]["step"] = torch.tensor(3.0)
        optimizer.param_groups[0]["fused"] = fused
        place_steps(optimizer)
        assert optimizer.state[weight]["step"].device.type == device
