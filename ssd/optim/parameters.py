"""Which weights train, at which rate, with which decay.

A pattern selects weights by name: a whole name, a dotted prefix ("heads" selects
"heads.0.classify.weight") or a shell pattern ("*.bias").
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from ssd.errors import ConfigError
from ssd.optim.folding import prefixes

MOMENTUM = "momentum_buffer"  # of torch.optim.SGD
KINDS = ("biases", "norms")  # of weights that need no decay


def matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)


def selected(names: Iterable[str], patterns: Sequence[str], key: str) -> set[str]:
    """The names that at least one pattern selects; an error where a pattern selects none.

    key: of the configuration, for the error
    """
    if isinstance(patterns, str):
        raise ConfigError(f"{key}={patterns}: give a list, as in {key}=[{patterns}]")
    names = list(names)
    found = set()
    for pattern in patterns:
        hits = {name for name in names if matches(name, pattern)}
        if not hits:
            raise ConfigError(f"{key}={pattern}: selects no weight; {advice(pattern, names)}")
        found |= hits
    return found


def advice(pattern: str, names: Sequence[str]) -> str:
    """The nearest prefix, and the top ones."""
    tops = dict.fromkeys(name.partition(".")[0] for name in names)
    known = dict.fromkeys(prefix for name in names for prefix in prefixes(name))
    nearest = get_close_matches(pattern, known, n=1)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{guess}its weights are in {', '.join(tops)}"


def freeze(network: nn.Module, trainable: Sequence[str] | None) -> None:
    """Let only the weights that `trainable` selects train; all of them where it is None.

    A norm layer of which nothing trains goes into evaluation mode, so its running statistics stay;
    Lightning keeps the modes that it finds.
    """
    weights = dict(network.named_parameters())
    chosen = set(weights) if trainable is None else selected(weights, trainable, "trainable")
    for name, weight in weights.items():
        weight.requires_grad_(name in chosen)
    for name, layer in network.named_modules():
        if getattr(layer, "running_mean", None) is not None:
            own = list(layer.parameters())
            by_name = trainable is None or any(matches(name, pattern) for pattern in trainable)
            layer.train(any(weight.requires_grad for weight in own) if own else by_name)


def make_optimizer(
    network: nn.Module,
    factory: Callable[..., Optimizer],
    lr_factors: Mapping[str, float],
    no_decay: Sequence[str],
    may_fuse: bool,
) -> Optimizer:
    """An optimizer of the weights that train, a group for each pair of rate and decay.

    lr_factors: on the optimizer's rate, by pattern; those that select one weight multiply
    no_decay: KINDS of weights without weight decay: "biases", and "norms", which are all other
        weights of one dimension, such as a norm layer's and L2Norm's scales
    may_fuse: whether the optimizer may be a fused one, see `fastest`
    """
    for kind in no_decay:
        if kind not in KINDS:
            raise ConfigError(f"no_decay={kind}: give any of {', '.join(KINDS)}")
    weights = dict(network.named_parameters())
    factors = rate_factors(weights, lr_factors)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, weight in weights.items():
        if weight.requires_grad:
            decays = kind_of(name, weight) not in no_decay
            groups.setdefault((factors[name], decays), []).append(weight)
    if not groups:
        raise ConfigError("trainable=[]: nothing would train; name a part, or null for all")
    undecayed = {"weight_decay": 0.0}
    parts = [{"params": p} | ({} if decays else undecayed) for (_, decays), p in groups.items()]
    try:
        optimizer = fastest(factory, may_fuse)(parts)
    except (TypeError, ValueError) as error:  # torch's checks of its numbers
        raise ConfigError(f"optimizer: {error}") from error
    for group, (factor, _) in zip(optimizer.param_groups, groups, strict=True):
        group["lr"] *= factor
    if isinstance(optimizer, SGD):
        optimizer.register_step_pre_hook(start_momentum)
    return optimizer


def start_momentum(optimizer: SGD, *_: object) -> None:
    """A momentum of 0 for weights that have none yet: torch's fused form takes no weights that join
    later, as those that were frozen. The first step is the same, as there is no dampening."""
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"]:
            for weight in group["params"]:
                if weight.grad is not None and optimizer.state[weight].get(MOMENTUM) is None:
                    optimizer.state[weight][MOMENTUM] = torch.zeros_like(weight)


def fastest(factory: Callable[..., Optimizer], may_fuse: bool) -> Callable[..., Optimizer]:
    """`factory` for torch's fused form, which walks once over all weights, where torch has one and
    the factory does not say which form it wants."""
    forms = {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if name in ("fused", "foreach")
    }
    if forms.get("fused") and not may_fuse:
        raise ConfigError(
            "optimizer.fused=true cannot clip gradients in mixed precision, nor train in 16-mixed; "
            "leave it out, or use trainer.gradient_clip_val=null and precision=bf16-mixed"
        )
    undecided = "fused" in forms and all(form is None for form in forms.values())
    undecided = undecided and not getattr(factory, "keywords", {}).get("dampening")
    return partial(factory, fused=True) if undecided and may_fuse else factory


def place_steps(optimizer: Optimizer) -> None:
    """Counts of steps to where the optimizer's form wants them: a fused or capturable one on the
    device of its weights, the others on the CPU. A checkpoint's are where its own run's form wanted
    them."""
    for group in optimizer.param_groups:
        on_device = group.get("fused") or group.get("capturable")
        for weight in group["params"]:
            state = optimizer.state.get(weight, {})
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(weight.device if on_device else "cpu")


def rate_factors(names: Iterable[str], lr_factors: Mapping[str, float]) -> dict[str, float]:
    """The product, for each name, of the factors whose pattern selects it."""
    factors = dict.fromkeys(names, 1.0)
    if not isinstance(lr_factors, Mapping):
        raise ConfigError(f"lr_factors={lr_factors}: give prefixes with factors, {{features:0.1}}")
    for pattern, factor in lr_factors.items():
        if not isinstance(factor, int | float) or factor < 0:
            raise ConfigError(f"lr_factors.{pattern}={factor}: give at least 0")
        for name in selected(factors, [pattern], "lr_factors"):
            factors[name] *= factor
    return factors


def kind_of(name: str, weight: Tensor) -> str | None:
    """Which of KINDS a weight is, if any."""
    if name.rpartition(".")[2] == "bias":
        return "biases"
    return "norms" if weight.ndim <= 1 else None


@torch.no_grad()
def decay_loss(optimizer: Optimizer) -> Tensor:
    """Half the weight decay times the sum of squares of the decayed weights: () float32."""
    total = optimizer.param_groups[0]["params"][0].new_zeros((), dtype=torch.float32)
    for group in optimizer.param_groups:
        if group["weight_decay"]:
            weights = [weight for weight in group["params"] if weight.requires_grad]
            norms = torch.stack([*torch._foreach_norm(weights), torch.zeros_like(total)])
            total += group["weight_decay"] / 2 * norms.float().square().sum()
    return total
