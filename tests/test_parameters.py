from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from ssd.errors import ConfigError
from ssd.optim.folding import folded
from ssd.optim.parameters import decay_loss, fastest, freeze, make_optimizer, selected
from ssd.optim.table import training_table


class Tiny(nn.Module):
    """Two blocks with batch norm, a scale, and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(block(3, 4), block(4, 4))
        self.scale = nn.Parameter(torch.ones(4))
        self.heads = nn.ModuleList(nn.Linear(4, 2) for _ in range(2))


def block(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, bias=False), nn.BatchNorm2d(out))


NAMES = [name for name, _ in Tiny().named_parameters()]
HEADS = {name for name in NAMES if name.startswith("heads.")}
BIASES = {name for name in NAMES if name.endswith(".bias")}


def sgd(groups: list[dict]) -> Optimizer:
    return SGD(groups, lr=0.1, weight_decay=0.5)


def made(
    network: nn.Module, lr_factors: dict[str, float] | None = None, no_decay: tuple[str, ...] = ()
) -> Optimizer:
    return make_optimizer(network, sgd, lr_factors or {}, no_decay, may_fuse=False)


def settings(network: nn.Module, optimizer: Optimizer) -> dict[str, tuple[float, float]]:
    """The rate and the weight decay of each weight by name."""
    names = {weight: name for name, weight in network.named_parameters()}
    return {
        names[weight]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["heads"], HEADS),
        (["heads.0", "heads.1"], HEADS),
        (["*.bias"], BIASES),
        (["scale"], {"scale"}),
        (["features.?.1.weight"], {"features.0.1.weight", "features.1.1.weight"}),
        (["heads", "*.bias"], HEADS | BIASES),
        ([], set()),
    ],
)
def test_a_pattern_is_a_name_a_prefix_or_a_shell_pattern(
    patterns: list[str], expected: set[str]
) -> None:
    assert selected(NAMES, patterns, "trainable") == expected


def test_a_pattern_that_selects_nothing_gets_the_nearest_prefix() -> None:
    message = r"trainable=head: selects no weight; did you mean heads\?.* in scale, features, heads"
    with pytest.raises(ConfigError, match=message):
        selected(NAMES, ["features", "head"], "trainable")


def test_a_pattern_like_nothing_gets_the_parts_of_the_network() -> None:
    with pytest.raises(ConfigError, match=r"init\.exclude=xyz: selects no weight; its weights are"):
        selected(NAMES, ["xyz"], "init.exclude")


def test_a_lone_pattern_is_no_list() -> None:
    with pytest.raises(ConfigError, match=r"as in trainable=\[heads\]"):
        selected(NAMES, "heads", "trainable")


def test_only_what_is_selected_trains() -> None:
    network = Tiny()
    freeze(network, ["heads"])
    assert {name for name, w in network.named_parameters() if w.requires_grad} == HEADS


def test_all_trains_again_after_a_freeze() -> None:
    network = Tiny()
    freeze(network, ["heads"])
    freeze(network, None)
    assert all(weight.requires_grad for weight in network.parameters())
    assert all(module.training for module in network.modules())


def test_the_statistics_of_a_frozen_norm_stay_and_others_move() -> None:
    network = Tiny()
    freeze(network, ["features.1"])
    network.features(torch.randn(2, 3, 8, 8))
    frozen, trained = (network.features[i][1].running_mean for i in (0, 1))
    assert frozen.count_nonzero() == 0
    assert trained.count_nonzero() == 4


@pytest.mark.parametrize(
    ("trainable", "moves"), [(None, True), (["0"], False), (["1"], True), (["2"], False)]
)
def test_a_norm_without_weights_goes_by_its_name(trainable: list[str] | None, moves: bool) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    network[1] = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False))
    freeze(network, trainable)
    assert network[1][1].training == moves


def test_without_wishes_there_is_one_group_in_the_networks_order() -> None:
    network = Tiny()
    [group] = made(network).param_groups
    assert all(a is b for a, b in zip(group["params"], network.parameters(), strict=True))


def test_factors_that_select_one_weight_multiply() -> None:
    network = Tiny()
    optimizer = made(network, {"features": 0.1, "*.bias": 2.0})
    found = {name: rate for name, (rate, _) in settings(network, optimizer).items()}
    for name in NAMES:
        factor = (0.1 if name.startswith("features.") else 1) * (2 if name in BIASES else 1)
        assert found[name] == pytest.approx(0.1 * factor), name


def test_biases_and_norms_go_without_decay() -> None:
    network = Tiny()
    found = settings(network, made(network, no_decay=("biases", "norms")))
    decayed = {name for name, (_, decay) in found.items() if decay}
    assert decayed == {"features.0.0.weight", "features.1.0.weight"} | (HEADS - BIASES)


def test_biases_alone_go_without_decay() -> None:
    network = Tiny()
    found = settings(network, made(network, no_decay=("biases",)))
    assert {name for name, (_, decay) in found.items() if not decay} == BIASES


def test_a_frozen_weight_is_in_no_group() -> None:
    network = Tiny()
    freeze(network, ["heads"])
    assert settings(network, made(network, {"features": 0.1})).keys() == HEADS


def test_a_step_moves_each_weight_by_its_own_rate_and_decay() -> None:
    network = Tiny()
    optimizer = made(network, {"heads.0": 0.5}, ("biases",))
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    for name, weight in network.named_parameters():
        rate = 0.05 if name.startswith("heads.0.") else 0.1
        decay = 0 if name in BIASES else 0.5
        expected = before[name] - rate * (1 + decay * before[name])
        torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize(
    "chosen", [{"fused": False}, {"foreach": True}, {"foreach": False}], ids=str
)
def test_the_form_of_an_optimizer_that_is_given_stays(chosen: dict[str, bool]) -> None:
    optimizer = fastest(partial(SGD, lr=0.1, **chosen), may_fuse=True)(Tiny().parameters())
    form = {"fused": None, "foreach": None, **chosen}
    assert {name: optimizer.defaults[name] for name in form} == form


def test_an_optimizer_that_may_not_be_fused_is_plain_and_says_so_where_it_is_asked() -> None:
    factory = partial(SGD, lr=0.1)
    assert fastest(factory, may_fuse=False) is factory
    with pytest.raises(ConfigError, match=r"optimizer\.fused=true cannot clip gradients"):
        fastest(partial(factory, fused=True), may_fuse=False)


@pytest.mark.parametrize("fused", [True, False])
def test_weights_that_join_later_start_their_momentum_then(fused: bool) -> None:
    networks = [Tiny(), Tiny()]
    networks[1].load_state_dict(networks[0].state_dict())
    factory = partial(SGD, lr=0.1, momentum=0.9)
    theirs = SGD(networks[1].parameters(), lr=0.1, momentum=0.9, foreach=False)
    ours = make_optimizer(networks[0], factory, {}, [], may_fuse=fused)
    assert bool(ours.param_groups[0]["fused"]) is fused
    for step in range(4):
        for network, optimizer in zip(networks, (ours, theirs), strict=True):
            for name, weight in network.named_parameters():
                late = name.startswith("features") and step < 2
                weight.grad = None if late else weight.detach().clone()
            optimizer.step()
    for weight, expected in zip(*(n.parameters() for n in networks), strict=True):
        torch.testing.assert_close(weight, expected)


def test_momentum_with_dampening_is_not_fused() -> None:
    factory = partial(SGD, lr=0.1, momentum=0.9, dampening=0.5)
    assert not fastest(factory, may_fuse=True)([nn.Parameter(torch.ones(2))]).defaults["fused"]


def test_what_cannot_be_is_refused() -> None:
    network = Tiny()
    with pytest.raises(ConfigError, match=r"no_decay=bias: give any of biases, norms"):
        made(network, no_decay=("bias",))
    with pytest.raises(ConfigError, match=r"lr_factors\.heads=-1: give at least 0"):
        made(network, {"heads": -1})
    with pytest.raises(ConfigError, match=r"lr_factors=head: selects no weight; did you mean"):
        made(network, {"head": 2})
    freeze(network, [])
    with pytest.raises(ConfigError, match="nothing would train"):
        made(network)


def test_the_decays_share_is_half_its_sum_of_squares() -> None:
    network = Tiny()
    share = decay_loss(made(network, no_decay=("biases",)))
    squares = sum(
        (w.detach().double() ** 2).sum() for n, w in network.named_parameters() if n not in BIASES
    )
    assert (share.shape, share.dtype, share.requires_grad) == ((), torch.float32, False)
    assert float(share) == pytest.approx(float(squares) * 0.5 / 2)


def test_without_decay_its_share_is_zero() -> None:
    assert decay_loss(SGD(Tiny().parameters(), lr=0.1)) == 0


def test_the_table_says_what_trains_and_what_is_frozen() -> None:
    network = Tiny()
    freeze(network, ["features.1", "heads"])
    table = training_table(network, made(network, {"heads": 2}, ("biases", "norms")))
    assert [line.split() for line in table.splitlines()] == [
        ["trains", "weights", "rate", "weight", "decay"],
        ["features.1.0", "144", "0.1", "0.5", "L2", "in", "the", "loss"],
        ["features.1.1", "8", "0.1", "none"],
        ["heads.*.weight", "16", "0.2", "0.5", "L2", "in", "the", "loss"],
        ["heads.*.bias", "4", "0.2", "none"],
        ["scale,", "features.0", "120", "frozen", "none"],
    ]


def test_the_table_tells_decoupled_decay() -> None:
    network = Tiny()
    table = training_table(network, AdamW(network.parameters(), lr=1e-3, weight_decay=0.05))
    assert table.splitlines()[1].endswith("0.001  0.05 decoupled")


def test_the_tables_rate_is_the_one_before_the_schedule() -> None:
    network = Tiny()
    optimizer = made(network)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.01)
    assert training_table(network, optimizer).splitlines()[1].split()[4] == "0.1"


def test_a_long_row_is_cut_and_counted() -> None:
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(12)))
    for layer in network[::2]:
        layer.requires_grad_(False)
    row = training_table(network, made(network)).splitlines()[1]
    assert row.startswith("1, 3, 5, 7, 2 more ")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (NAMES, ["scale", "features", "heads"]),
        (HEADS, ["heads"]),
        (BIASES, ["*.bias"]),
        (HEADS & BIASES, ["heads.*.bias"]),
        (["features.0.1.weight", "features.1.1.weight"], ["features.*.1.weight"]),
        (["features.1.0.weight", "scale"], ["scale", "features.1.0"]),
        ([], []),
    ],
)
def test_names_fold_to_what_covers_them(names: list[str], expected: list[str]) -> None:
    assert folded(names, NAMES) == expected


def test_what_names_fold_to_selects_them_again() -> None:
    for choice in range(1, 2 ** len(NAMES)):
        names = {name for i, name in enumerate(NAMES) if choice >> i & 1}
        assert selected(NAMES, folded(names, NAMES), "trainable") == names
