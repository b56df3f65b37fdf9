from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssd.errors import ConfigError
from ssd.models import SSD, ssd_small
from ssd.models.layers import Normalize
from ssd.weights.checkpoints import FORMAT, describe
from ssd.weights.renaming import file_names
from ssd.weights.warm_start import listed, warm_start

ARGUMENTS = {"image_size": 64, "width": 0.25, "clip_anchors": "never", "object_prior": 0.01}
ANCHORS = 4  # of a cell, on every level of ssd_small
CLASSES = ["cat", "dog"]


def make(classes: Sequence[str] = CLASSES, **changes: Any) -> SSD:
    """A network none of whose tensors has the values of another's."""
    network = ssd_small(num_classes=len(classes) + 1, **{**ARGUMENTS, **changes})
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) / 10 + 0.05)
        else:
            tensor.random_(1, 1000)
    return network.eval()


def checkpoint(network: SSD, classes: list[str] = CLASSES, **changes: Any) -> dict[str, Any]:
    """What Lightning and SSDModule write, but for the optimizer."""
    model = {"name": "ssd_small", **ARGUMENTS}
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    return {
        "ssd": {**describe(network, classes, model, detecting={}), **changes},
        "state_dict": weights,
        "global_step": 70,
    }


def save(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def start(
    network: SSD, path: str | Path, classes: list[str] = CLASSES, **changes: Any
) -> list[str]:
    options = {"exclude": [], "rename": [], "missing": "error", **changes}
    return warm_start(network, classes, path, **options)


def copies(network: SSD) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(network: SSD, weights: dict[str, Tensor], below: str = "") -> bool:
    own = network.state_dict()
    names = [name for name in weights if name.startswith(below)]
    assert names
    return all(torch.equal(own[name], weights[name]) for name in names)


def test_a_checkpoint_of_the_same_classes_gives_every_tensor_bit_for_bit(tmp_path: Path) -> None:
    old, new = make(), make()
    path = save(tmp_path / "a.ckpt", checkpoint(old))
    tensors = old.state_dict()
    count = sum(tensor.numel() for tensor in tensors.values())
    assert start(new, path) == [
        f"loaded {len(tensors)} of {len(tensors)} tensors ({count:,} of {count:,} "
        f"weights) from {path} (step 70)"
    ]
    assert same(new, tensors)


def test_a_run_folder_gives_its_best(tmp_path: Path) -> None:
    best, new = make(), make()
    save(tmp_path / "checkpoints" / "last.ckpt", checkpoint(make()))
    path = save(tmp_path / "checkpoints" / "best.ckpt", checkpoint(best))
    assert str(path) in start(new, str(tmp_path))[0]
    assert same(new, best.state_dict())


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_plain_state_dict_is_read_as_it_is_or_under_its_key(
    tmp_path: Path, key: str | None
) -> None:
    old, new = make(), make()
    weights = old.state_dict()
    content = weights if key is None else {key: weights, "epoch": 3}
    report = start(new, save(tmp_path / "a.pth", content))
    assert same(new, weights)
    assert "step" not in report[0]
    assert report[1:] == ["class names of the file are unknown: class layers count by shape alone"]


def test_place_layout_type_and_what_trains_stay(tmp_path: Path) -> None:
    new = make(["dog", "bird", "cow"]).double().to(memory_format=torch.channels_last)
    new.features.requires_grad_(False)
    before = {name: (w, w.data_ptr(), w.stride(), w.dtype) for name, w in new.named_parameters()}
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    start(new, path, ["dog", "bird", "cow"])
    for name, weight in new.named_parameters():
        assert before[name][0] is weight
        assert before[name][1:] == (weight.data_ptr(), weight.stride(), torch.float64)
        assert weight.requires_grad == name.startswith("heads")
        assert weight.grad_fn is None


def test_a_file_in_half_precision_is_widened(tmp_path: Path) -> None:
    old, new = make().half(), make()
    start(new, save(tmp_path / "a.ckpt", checkpoint(old)))
    assert same(
        new, {name: value.to(new.state_dict()[name]) for name, value in old.state_dict().items()}
    )


LISTS = [
    (["cat", "dog"], ["dog", "cat"]),  # another order
    (["cat", "dog"], ["dog", "cow"]),  # as many, of other names
    (["cat", "dog"], ["bird", "cow"]),  # nothing but the background in common
    (["cat", "dog"], ["bird", "dog", "cow", "cat", "ant"]),
    (["bird", "dog", "cow", "cat", "ant"], ["cat", "bird"]),
    (["cat"], ["dog", "cat", "cow"]),
]


@pytest.mark.parametrize(("theirs", "ours"), LISTS)
def test_shared_classes_get_the_logits_of_the_old_network(
    tmp_path: Path, theirs: list[str], ours: list[str]
) -> None:
    old, new = make(theirs), make(ours)
    start(new, save(tmp_path / "a.ckpt", checkpoint(old, theirs)), ours)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        before, after = old(images), new(images)
    torch.testing.assert_close(after.offsets, before.offsets, rtol=1e-5, atol=1e-6)
    for row, name in enumerate(["background", *ours]):
        if name in ["background", *theirs]:
            expected = before.logits[..., ["background", *theirs].index(name)]
            torch.testing.assert_close(after.logits[..., row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("theirs", "ours"), LISTS)
def test_each_anchor_copies_shared_classes_exactly_and_starts_the_others_new(
    tmp_path: Path, theirs: list[str], ours: list[str]
) -> None:
    old, new = make(theirs), make(ours)
    fresh = copies(new)
    start(new, save(tmp_path / "a.ckpt", checkpoint(old, theirs)), ours)
    saved, loaded = old.state_dict(), new.state_dict()
    their_names, our_names = ["background", *theirs], ["background", *ours]
    for level in range(len(new.heads)):
        for part in ("weight", "bias"):
            key = f"heads.{level}.classify.{part}"
            for anchor in range(ANCHORS):
                for row, name in enumerate(our_names):
                    place = anchor * len(our_names) + row
                    expected = fresh[key][place]
                    if name in their_names:
                        there = anchor * len(their_names) + their_names.index(name)
                        expected = saved[key][there]
                    assert torch.equal(loaded[key][place], expected), (key, anchor, name)


def test_the_report_says_which_classes_were_copied(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make(["cat", "dog", "cow"]), ["cat", "dog", "cow"]))
    new = make(["dog", "bird"])
    report = start(new, path, ["dog", "bird"])
    assert report[1:] == [
        "class layers copied by class name: the background, dog; starting new: bird; "
        "only in the file: cat, cow"
    ]
    share = sum(t.numel() * (2 / 3 if "classify" in n else 1) for n, t in new.state_dict().items())
    assert f"({round(share):,} of " in report[0]


def test_a_plain_file_of_another_number_of_classes_needs_the_class_layers_excluded(
    tmp_path: Path,
) -> None:
    old, new = make(["a", "b", "c"]), make()
    path = save(tmp_path / "a.pth", old.state_dict())
    fresh = copies(new)
    with pytest.raises(ConfigError, match="class names of the file are unknown") as error:
        start(new, path)
    assert "heads.0.classify.bias (16,) for (12,) and 6 more)" in str(error.value)
    assert "init.exclude=[heads.*.classify.weight,heads.*.classify.bias]" in str(error.value)
    assert same(new, fresh)
    report = start(new, path, exclude=["heads.*.classify.*"])
    assert report[1:] == [
        "left out by init.exclude: heads.*.classify.weight, heads.*.classify.bias"
    ]
    for level in range(4):
        assert same(new, old.state_dict(), f"heads.{level}.locate")
        assert same(new, fresh, f"heads.{level}.classify")


def test_what_is_excluded_starts_new_and_is_said(tmp_path: Path) -> None:
    old, new = make(), make()
    fresh = copies(new)
    path = save(tmp_path / "a.ckpt", checkpoint(old))
    report = start(new, path, exclude=["heads.1", "heads.0.classify", "features.stages.0"])
    assert report[1:] == ["left out by init.exclude: features.stages.0, heads.0.classify, heads.1"]
    for excluded in ("heads.1.", "heads.0.classify.", "features.stages.0."):
        assert same(new, fresh, excluded)
    for loaded in ("heads.0.locate.", "heads.2.", "features.stages.1."):
        assert same(new, old.state_dict(), loaded)


def test_a_prefix_ends_at_a_dot() -> None:
    assert file_names(["a.b", "ab.b"], ["c.b", "ab.b"], ["a:c"]) == {
        "c.b": "a.b",
        "ab.b": "ab.b",
    }


def test_an_exclusion_of_nothing_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    with pytest.raises(ConfigError, match=r"init\.exclude=head: .*did you mean heads"):
        start(make(), path, exclude=["head"])


def test_renamed_weights_arrive(tmp_path: Path) -> None:
    old, new = make(), make()
    weights = {
        name.replace("features.stages", "backbone").replace("heads", "box"): value
        for name, value in old.state_dict().items()
    }
    path = save(tmp_path / "a.pth", weights)
    start(new, path, rename=["backbone:features.stages", "box:heads"])
    assert same(new, old.state_dict())


@pytest.mark.parametrize(
    ("name", "rename", "expected"),
    [
        ("module.heads.0.b", ["module:"], "heads.0.b"),  # what DataParallel puts in front
        ("0.b", [":heads"], "heads.0.b"),
        ("old.b", ["old.b:heads.0.c"], "heads.0.c"),  # a whole name
        ("old.0.b", ["old.0:heads.1", "old:heads"], "heads.1.b"),  # the first that fits
        ("heads.0.b", ["heads.0:heads.1"], "heads.1.b"),
    ],
)
def test_the_first_pair_that_fits_renames_once(name: str, rename: list[str], expected: str) -> None:
    ours = ["heads.0.b", "heads.0.c", "heads.1.b"]
    theirs = [name, "old.1.x"] if len(rename) > 1 else [name]
    assert file_names(theirs, ours, rename)[expected] == name


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (["fetures:heads"], r"\[fetures:heads\]: no weight of the file .* mean features"),
        (["features:hed"], r"\[features:hed\]: no weight of the network .* mean heads"),
        (["features:heads", "features.stages:heads"], "an earlier pair takes features.stages"),
        (["features"], "give old:new"),
        (["a:b:c"], "give old:new"),
        (["heads.0:heads.1"], r"heads\.0\.classify\.weight and heads\.1\.classify\.weight both"),
    ],
)
def test_a_rename_that_cannot_be_meant_is_an_error(
    tmp_path: Path, rename: list[str], message: str
) -> None:
    new = make()
    fresh = copies(new)
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    with pytest.raises(ConfigError, match=message):
        start(new, path, rename=rename)
    assert same(new, fresh)


@pytest.mark.parametrize("key", ["exclude", "rename"])
def test_a_lone_prefix_is_asked_for_as_a_list(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"give a list, as in init\.{key}=\[heads\]"):
        start(make(), save(tmp_path / "a.ckpt", checkpoint(make())), **{key: "heads"})


def without(content: dict[str, Any], *prefixes: str) -> dict[str, Any]:
    weights = content["state_dict"]
    kept = {k: v for k, v in weights.items() if not k.startswith(tuple(prefixes))}
    return {**content, "state_dict": kept}


def test_missing_weights_are_an_error_with_its_cure(tmp_path: Path) -> None:
    new = make()
    fresh = copies(new)
    content = without(checkpoint(make()), "network.heads.3", "network.heads.2.locate")
    path = save(tmp_path / "a.ckpt", content)
    with pytest.raises(
        ConfigError, match=r"missing in the file: heads\.2\.locate, heads\.3;"
    ) as error:
        start(new, path)
    assert "init.exclude=[heads.2.locate,heads.3] or init.missing=ignore" in str(error.value)
    assert same(new, fresh)


def test_the_cure_holds_what_is_excluded_already(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", without(checkpoint(make()), "network.heads.3"))
    with pytest.raises(ConfigError, match=r"init\.exclude=\[features\.stages\.0,heads\.3\]"):
        start(make(), path, exclude=["features.stages.0"])
    assert start(make(), path, exclude=["features.stages.0", "heads.3"])


def test_missing_weights_start_new_where_that_is_asked_for(tmp_path: Path) -> None:
    old, new = make(), make()
    fresh = copies(new)
    path = save(tmp_path / "a.ckpt", without(checkpoint(old), "network.heads.3"))
    assert start(new, path, missing="ignore")[1:] == ["missing in the file: heads.3"]
    assert same(new, fresh, "heads.3")
    assert same(new, old.state_dict(), "heads.2")


def test_excluded_weights_may_be_missing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", without(checkpoint(make()), "network.heads.3"))
    report = start(make(), path, exclude=["heads.3"])
    assert report[1:] == ["left out by init.exclude: heads.3"]


def test_running_statistics_count_as_weights(tmp_path: Path) -> None:
    content = checkpoint(make())
    for part in ("running_mean", "num_batches_tracked"):
        name = f"network.features.stages.0.0.1.{part}"
        with pytest.raises(ConfigError, match=f"missing in the file: .*{part}"):
            start(make(), save(tmp_path / "a.ckpt", without(content, name)))


def test_another_shape_is_an_error_that_names_both(tmp_path: Path) -> None:
    content, new = checkpoint(make()), make()
    fresh = copies(new)
    content["state_dict"]["network.heads.0.locate.bias"] = torch.ones(5)
    path = save(tmp_path / "a.ckpt", content)
    message = r"of another shape in the file: .* \(heads\.0\.locate\.bias \(5,\) for \(16,\)\)"
    with pytest.raises(ConfigError, match=message):
        start(new, path)
    assert same(new, fresh)
    report = start(new, path, missing="ignore")
    assert report[1:] == [
        "of another shape in the file: heads.0.locate.bias (heads.0.locate.bias (5,) for (16,))"
    ]
    assert same(new, fresh, "heads.0.locate.bias")


def test_class_layers_of_another_number_of_anchors_do_not_fit(tmp_path: Path) -> None:
    content, new = checkpoint(make(["cow"]), ["cow"]), make()
    fresh = copies(new)
    content["state_dict"]["network.heads.0.classify.bias"] = torch.ones(6 * 2)
    path = save(tmp_path / "a.ckpt", content)
    with pytest.raises(ConfigError, match=r"heads\.0\.classify\.bias \(12,\) for \(12,\)"):
        start(new, path)
    start(new, path, missing="ignore")
    assert same(new, fresh, "heads.0.classify.bias")


def test_what_the_network_has_no_place_for_is_said(tmp_path: Path) -> None:
    old, new = make(), make()
    content = checkpoint(old)
    content["state_dict"] |= {f"network.fc.{i}.weight": torch.ones(2) for i in range(3)}
    report = start(new, save(tmp_path / "a.ckpt", content))
    assert report[1:] == ["left over in the file: fc"]
    assert same(new, old.state_dict())


def test_left_over_weights_go_by_the_names_in_the_file(tmp_path: Path) -> None:
    weights = {f"module.{name}": value for name, value in make().state_dict().items()}
    path = save(tmp_path / "a.pth", {**weights, "module.fc.bias": torch.ones(1)})
    assert "left over in the file: module.fc" in start(make(), path, rename=["module:"])


@pytest.mark.parametrize("missing", ["error", "ignore"])
def test_a_file_of_which_nothing_is_loaded_is_an_error(tmp_path: Path, missing: str) -> None:
    weights = {f"net.{name}": value for name, value in make().state_dict().items()}
    path = save(tmp_path / "a.pth", weights)
    message = r"gives nothing; missing in the file: features, heads; left over in the file: net; .*"
    with pytest.raises(ConfigError, match=message + r"init\.rename=\[old:new\]"):
        start(make(), path, missing=missing)


def test_counts_of_batches_alone_are_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make(width=1.0)))
    with pytest.raises(ConfigError, match=r"gives nothing; left out .* of another shape"):
        start(make(), path, exclude=["heads"], missing="ignore")


def test_excluding_everything_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    with pytest.raises(ConfigError, match=r"gives nothing; left out by init\.exclude: features"):
        start(make(), path, exclude=["features", "heads"])


def test_only_error_and_ignore_are_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"init\.missing=warn: give one of error, ignore"):
        start(make(), tmp_path, missing="warn")


def test_long_lists_end_in_a_count() -> None:
    assert listed([str(i) for i in range(15)]).endswith("10, 11 and 3 more")


def test_other_normalisation_is_said_and_the_network_keeps_its_own(tmp_path: Path) -> None:
    old, new = make(), make()
    own = new.normalize.mean.clone()
    old.normalize = Normalize([1.0, 2.0, 3.5], [4.0, 5.0, 6.0])
    report = start(new, save(tmp_path / "a.ckpt", checkpoint(old)))
    assert report[1].startswith("normalisation stays mean (127.5, 127.5, 127.5)")
    assert report[1].endswith("learned with mean (1, 2, 3.5) std (4, 5, 6)")
    assert len(report) == 2
    assert torch.equal(new.normalize.mean, own)


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(1)],
        {},
        {"state_dict": {}},
        {"epoch": 3},
        {"ssd": {}},
        {"state_dict": {"a": torch.ones(1), "b": "text"}},
    ],
)
def test_what_holds_no_weights_is_named_in_one_line(tmp_path: Path, content: Any) -> None:
    path = save(tmp_path / "a.pth", content)
    with pytest.raises(ValueError, match=r"a\.pth: neither a checkpoint of this project nor"):
        start(make(), path)


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"a\.ckpt: damaged"):
        start(make(), path)
    with pytest.raises(ValueError, match=r"b\.ckpt: no such checkpoint"):
        start(make(), tmp_path / "b.ckpt")


class Bomb:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "bomb.pth", {"state_dict": make().state_dict(), "args": Bomb()})
    with pytest.raises(ValueError, match=r"bomb\.pth: damaged, or no checkpoint"):
        start(make(), path)
    assert not Path("exploded").exists()


def test_weights_of_a_later_format_are_refused_and_of_an_earlier_one_taken(tmp_path: Path) -> None:
    old, new = make(), make()
    later = save(tmp_path / "later.ckpt", checkpoint(old, format=FORMAT + 1))
    with pytest.raises(ValueError, match=f"checkpoint of format {FORMAT + 1}, this is"):
        start(new, later)
    start(new, save(tmp_path / "earlier.ckpt", checkpoint(old, format=1)))
    assert same(new, old.state_dict())
