"""Optimizers whose TensorFlow formula torch does not have (tf.compat.v1.train)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ssd.errors import ConfigError


class AdamTF(torch.optim.Adam):
    """TensorFlow's Adam, the "epsilon hat" form of the paper (Kingma and Ba, end of section 2).

    Its epsilon stands beside the raw root of the second moment, torch's beside the corrected one;
    so it is torch's step with epsilon / sqrt(1 - beta2^t). The constant is each group's "epsilon",
    its "eps" that of the last step. The powers of the betas are one for all weights: one that gets
    its first gradient late is corrected as little as the others are by then.
    """

    def __init__(
        self, params: ParamsT, lr: float, betas: Sequence[float], eps: float, weight_decay: float
    ) -> None:
        super().__init__(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["epsilon"] = group["eps"]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        # torch keeps the count in every weight's own state
        steps = max((float(state["step"]) for state in self.state.values()), default=0.0)
        for group in self.param_groups:
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** (steps + 1))
            for weight in group["params"]:
                if weight.grad is not None:
                    self.moments_of(weight)["step"].fill_(steps)
        super().step()
        return loss

    def moments_of(self, weight: Tensor) -> dict[str, Tensor]:
        """What torch's Adam keeps for a weight, made where it is missing."""
        state = self.state[weight]
        if not state:
            moments = (torch.zeros_like(weight) for _ in range(2))
            names = ("exp_avg", "exp_avg_sq")
            state.update(zip(names, moments, strict=True), step=torch.zeros(()))
        return state


class Ftrl(Optimizer):
    """Follow the regularised leader as TensorFlow's ApplyFtrl computes it (McMahan et al. 2013,
    "Ad Click Prediction", algorithm 1, with a free power and l2 counted twice).

    lr_power: at most 0; -0.5 is the paper's root, 0 a rate that does not shrink
    initial_accumulator_value: where the sum of squared gradients starts
    l1, l2: the penalties of the problem that each step solves anew
    weight_decay: times the weights, added to the gradient

    Each step solves for the weights from sums over all steps so far: a weight is in proportion to
    the rate of the moment, so a schedule that moves the rate scales the weights with it.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        lr_power: float,
        initial_accumulator_value: float,
        l1: float,
        l2: float,
        weight_decay: float,
    ) -> None:
        if lr_power > 0:
            raise ConfigError(f"optimizer.lr_power={lr_power}: give at most 0; the paper has -0.5")
        positive = {
            "lr": lr,
            "initial_accumulator_value": initial_accumulator_value,
            "l1": l1,
            "l2": l2,
            "weight_decay": weight_decay,
        }
        for name, value in positive.items():
            if value < 0:
                raise ConfigError(f"optimizer.{name}={value}: give at least 0")
        super().__init__(params, {**positive, "lr_power": lr_power})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            # the formula divides by the rate, which is 0 at the foot of a warm-up
            if weights and group["lr"] > 0:
                self.step_group(group, weights)
        return loss

    def step_group(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        sums, linear = self.sums_of(group, weights)
        gradients = [weight.grad for weight in weights]
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])

        before = torch._foreach_pow(sums, -group["lr_power"])
        torch._foreach_addcmul_(sums, gradients, gradients)
        after = torch._foreach_pow(sums, -group["lr_power"])
        pull = torch._foreach_div(torch._foreach_sub(after, before), group["lr"])
        torch._foreach_add_(linear, gradients)
        torch._foreach_addcmul_(linear, pull, weights, value=-1)

        curvature = torch._foreach_div(after, group["lr"])
        torch._foreach_add_(curvature, 2 * group["l2"])
        # 0 where a sum that started at 0 has seen no gradient yet; linear is 0 there, too
        torch._foreach_clamp_min_(curvature, torch.finfo(torch.float32).tiny)
        within = torch._foreach_clamp_min(linear, -group["l1"])
        torch._foreach_clamp_max_(within, group["l1"])
        solved = torch._foreach_div(torch._foreach_sub(within, linear), curvature)
        torch._foreach_copy_(weights, solved)

    def sums_of(
        self, group: dict[str, Any], weights: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The sums of squared gradients and the linear terms of the problem, made where missing."""
        for weight in weights:
            if not self.state[weight]:
                start = torch.full_like(weight, group["initial_accumulator_value"])
                self.state[weight] = {"sum": start, "linear": torch.zeros_like(weight)}
        states = [self.state[weight] for weight in weights]
        return [state["sum"] for state in states], [state["linear"] for state in states]


def evaluated(closure: Callable[[], Any] | None) -> Any:
    """The loss, with new gradients, where the step is given what computes them."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
