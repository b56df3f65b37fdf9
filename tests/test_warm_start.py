"""What is loaded, what starts new, and what is said of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from saved import checkpoint, copies, make, same, save, start

from ssd.errors import ConfigError
from ssd.models.layers import Normalize
from ssd.weights.renaming import file_names
from ssd.weights.warm_start import listed


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


def test_what_is_excluded_starts_new_and_is_said(tmp_path: Path) -> None:
    old, new = make(), make()
    fresh = copies(new)
    path = save(tmp_path / "a.ckpt", checkpoint(old))
    report = start(new, path, exclude=["heads.1", "heads.0.classify", "features.backbone.0"])
    left_out = "features.backbone.0, heads.0.classify, heads.1"
    assert report[1:] == [f"left out by init.exclude: {left_out}"]
    for excluded in ("heads.1.", "heads.0.classify.", "features.backbone.0."):
        assert same(new, fresh, excluded)
    for loaded in ("heads.0.locate.", "heads.2.", "features.backbone.1."):
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
    with pytest.raises(ConfigError, match=r"init\.exclude=\[features\.backbone\.0,heads\.3\]"):
        start(make(), path, exclude=["features.backbone.0"])
    assert start(make(), path, exclude=["features.backbone.0", "heads.3"])


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
        name = f"network.features.backbone.0.0.1.{part}"
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
