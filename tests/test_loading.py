"""Checkpoints to use, whoever wrote them; the command that makes them; starts from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from networks import arguments, make_network
from saved import DETECTING, checkpoint, make, save, start
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large

from ssd.weights.__main__ import main
from ssd.weights.checkpoints import build_network, describe, read_checkpoint
from ssd.weights.class_layers import class_layers
from ssd.weights.loading import load_checkpoint
from ssd.weights.projects.classes import COCO, VOC, coco_by_id, known_classes


@pytest.fixture(scope="module")
def lite() -> dict[str, Tensor]:
    """torchvision's SSDLite of three classes."""
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    return model.state_dict()


@pytest.fixture
def file(tmp_path: Path, lite: dict[str, Tensor]) -> Path:
    return save(tmp_path / "lite.pth", lite)


def test_a_checkpoint_of_this_project_is_taken_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", checkpoint(make()))
    assert load_checkpoint(path)["ssd"] == read_checkpoint(path)["ssd"]


@pytest.mark.parametrize("number", [21, 81, 91, 201])
def test_the_classes_of_voc_and_coco_are_known_by_their_number(number: int) -> None:
    names = known_classes(number)
    assert names is not None
    assert len(set(names)) == number - 1
    assert names[: len(COCO)] == COCO or set(COCO) <= set(names) or names == VOC


def test_coco_by_id_leaves_the_gaps_of_its_ids() -> None:
    names = coco_by_id()
    assert (names[0], names[12], names[89]) == ("person", "stop sign", "toothbrush")  # 1, 13, 90
    assert names[11] == "N/A 12"


def test_classes_that_their_number_does_not_tell_have_to_be_given(file: Path) -> None:
    with pytest.raises(ValueError, match=r"with 3 classes, but no names; .*--classes"):
        load_checkpoint(file)
    with pytest.raises(ValueError, match="with 3 classes, but 2 names"):
        load_checkpoint(file, ["a", "b"])
    assert load_checkpoint(file, ["a", "b", "c"])["ssd"]["classes"] == ["a", "b", "c"]


def test_a_state_dict_that_nobody_knows_is_said_to_be_one(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", {"conv.weight": torch.ones(1)})
    with pytest.raises(ValueError, match=r"a\.pth: a state dict of 1 tensors, but neither"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("backbone.extra.0.1.0.weight"), "missing: features.extras.0."),
        (lambda weights: weights.update({"backbone.more": torch.ones(1)}), "not known: backbone"),
        (
            lambda weights: weights.update({"backbone.extra.0.0.0.weight": torch.ones(2, 2, 1, 1)}),
            r"of another shape: features\.extras\.0\.0\.0\.weight \(2, 2, 1, 1\) for",
        ),
        (
            lambda weights: weights.update(
                {"head.classification_head.module_list.0.1.bias": torch.ones(25)}
            ),
            "has 25 channels; 6 for each class were expected",
        ),
    ],
    ids=["missing", "unknown", "shape", "head"],
)
def test_a_file_that_does_not_fit_its_layout_says_where(
    tmp_path: Path, lite: dict[str, Tensor], change: object, said: str
) -> None:
    weights = dict(lite)
    change(weights)
    path = save(tmp_path / "a.pth", weights)
    with pytest.raises(ValueError, match=said) as caught:
        load_checkpoint(path, ["a", "b", "c"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("front", ["module.", "_orig_mod.", "module._orig_mod."])
def test_what_wrappers_put_before_names_is_taken_off(
    tmp_path: Path, lite: dict[str, Tensor], front: str
) -> None:
    path = save(tmp_path / "a.pth", {f"{front}{name}": value for name, value in lite.items()})
    assert load_checkpoint(path, ["a", "b", "c"])["ssd"]["classes"] == ["a", "b", "c"]


def test_the_command_writes_a_checkpoint_that_detects(
    tmp_path: Path, file: Path, lite: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.ckpt"
    main([str(file), str(out), "--classes", "a,b,c"])
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    network = build_network(read_checkpoint(out))
    assert torch.equal(
        network.heads["0"].classify.weight,
        lite["head.classification_head.module_list.0.1.weight"],
    )
    assert not list(tmp_path.glob("*.part"))


def test_the_command_takes_other_anchor_sizes(tmp_path: Path) -> None:
    weights = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=21).state_dict()
    out = tmp_path / "out.ckpt"
    main([str(save(tmp_path / "a.pth", weights)), str(out), "--anchor-sizes", "voc"])
    assert build_network(read_checkpoint(out)).anchors[0, 2] == pytest.approx(0.1)
    out, sizes = tmp_path / "other.ckpt", "15,60,111,162,213,264,315"
    main([str(tmp_path / "a.pth"), str(out), "--anchor-sizes", sizes])
    assert build_network(read_checkpoint(out)).anchors[0, 2] == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["lite", "vgg"])
def test_there_and_back_torchvisions_weights_are_the_same(
    tmp_path: Path, lite: dict[str, Tensor], name: str
) -> None:
    weights = lite
    if name == "vgg":
        weights = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=4).state_dict()
    there, back = tmp_path / "there.ckpt", tmp_path / "back.pth"
    main([str(save(tmp_path / "a.pth", weights)), str(there), "--classes", "a,b,c"])
    main([str(there), str(back), "--to", "torchvision"])
    returned = torch.load(back, weights_only=True)
    assert returned.keys() == weights.keys()
    assert all(torch.equal(returned[key], value) for key, value in weights.items())


def test_other_anchors_than_torchvisions_are_said_on_the_way_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = make_network("ssd300_vgg16", 3)
    content = checkpoint(network)
    content["ssd"]["model"] = arguments("ssd300_vgg16")
    main([str(save(tmp_path / "a.ckpt", content)), str(tmp_path / "b.pth"), "--to", "torchvision"])
    assert "go with model.anchor_sizes=voc, which torchvision's" in caplog.text
    assert "clip_anchors=never" in caplog.text


def test_a_file_for_another_model_says_which(tmp_path: Path) -> None:
    weights = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=21).state_dict()
    path = save(tmp_path / "a.pth", weights)
    said = r"of torchvision ssd300_vgg16 for ssd300_vgg16, but this run's model is ssd_small"
    with pytest.raises(ValueError, match=said):
        start(make(), path)


def test_a_network_with_a_finer_level_starts_from_one_without(tmp_path: Path) -> None:
    old = make_network("ssdlite320_mobilenet_v2", 3)
    new = make_network("ssdlite320_mobilenet_v2", 3, finer_levels=2)
    content = checkpoint(old)
    model = arguments("ssdlite320_mobilenet_v2")
    content["ssd"]["model"] = model
    path = save(tmp_path / "a.ckpt", content)
    report = start(new, path, model=model, exclude=["heads.finer1", "heads.finer2"])
    assert "loaded" in report[0]
    for name, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], value), name


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content["ssd"].pop("model"),
        lambda content: content["ssd"].update(model=["ssd_small"]),
        lambda content: content["ssd"]["model"].update(name="SSD"),
        lambda content: content["ssd"]["model"].update(colour=1),
        lambda content: content.pop("state_dict"),
        lambda content: content["state_dict"].popitem(),
        lambda content: content["ssd"].pop("classes"),
    ],
)
def test_a_checkpoint_of_this_project_that_is_wrong_inside_is_one_line(damage: Any) -> None:
    content = checkpoint(make())
    content["ssd"]["model"] = dict(content["ssd"]["model"])
    damage(content)
    with pytest.raises(ValueError, match="checkpoint") as caught:
        build_network(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.ckpt", "b.pth", "--to", "torchvision"], "torchvision has no ssd_small"),
        (["a.ckpt", "a.ckpt"], "is there already"),
        (["none.ckpt", "b.ckpt"], "no such checkpoint"),
        (["a.ckpt", "none/b.ckpt"], "no such folder"),
        (["a.ckpt", "b.pth", "--classes", "a,b"], "says its classes"),
        (["a.ckpt", "b.pth", "--classes", "a,,b"], "every name once"),
        (["a.ckpt", "b.pth", "--anchor-sizes", "30,x"], "numbers as in 30,60"),
    ],
)
def test_the_commands_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.ckpt", checkpoint(make()))
    with pytest.raises(SystemExit, match=said):
        main(words)
    assert not (tmp_path / "b.pth").exists()


def test_other_shapes_do_not_go_back_to_torchvision(tmp_path: Path) -> None:
    content = checkpoint(make())
    content["ssd"]["model"] = arguments("ssd300_vgg16", finer_levels=1)
    path = save(tmp_path / "a.ckpt", content)
    with pytest.raises(SystemExit, match=r"not of the shapes .*model\.finer_levels=1 for 0"):
        main([str(path), str(tmp_path / "b.pth"), "--to", "torchvision"])


def test_training_starts_from_another_projects_weights_class_by_class(tmp_path: Path) -> None:
    names = {"aeroplane": 1, "dog": 12}
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    path = save(tmp_path / "a.pth", {"model": theirs.state_dict()})
    classes = ["zebra", "dog", "aeroplane"]
    network = make_network("ssdlite320_mobilenet_v3", num_classes=4, reduced_tail=True)
    model = arguments("ssdlite320_mobilenet_v3", reduced_tail=True, clip_anchors="never")
    report = start(network, path, classes, model=model)
    assert "learned with model.clip_anchors=sides, here never" in "\n".join(report)
    assert report[0] == "recognised as torchvision ssdlite320_mobilenet_v3_large"
    assert "taken for those of VOC or COCO" in report[1]
    assert "dog, aeroplane; starting new: zebra" in "\n".join(report)
    ours = network.heads["2"].classify.weight.unflatten(0, (-1, 4))
    rows = theirs.head.classification_head.module_list[2][1].weight.unflatten(0, (-1, 21))
    for name, row in names.items():
        assert torch.equal(ours[:, classes.index(name) + 1], rows[:, row])


def test_a_backbone_alone_starts_a_network_whose_rest_is_new(tmp_path: Path) -> None:
    donor, network = make_network("ssd300_vgg16", 3), make_network("ssd300_vgg16", 3)
    backbone = donor.features.backbone.state_dict()
    heads = network.heads.state_dict()
    heads = {name: value.clone() for name, value in heads.items()}
    path = save(tmp_path / "vgg16_reducedfc.pth", dict(backbone))
    report = start(network, path, model=arguments("ssd300_vgg16"))
    assert report[0] == "recognised as VGG16-reducedfc"
    ours = network.features.backbone.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in backbone.items())
    assert all(torch.equal(network.heads.state_dict()[n], value) for n, value in heads.items())


def test_a_backbone_is_no_detector(tmp_path: Path) -> None:
    backbone = make_network("ssd300_vgg16", 3).features.backbone.state_dict()
    path = save(tmp_path / "vgg16_reducedfc.pth", dict(backbone))
    with pytest.raises(ValueError, match="VGG16-reducedfc is a backbone and no detector"):
        load_checkpoint(path)


def test_class_layers_of_separable_heads_are_their_last_convolutions() -> None:
    names = class_layers(make_network("ssdlite320_mobilenet_v3"))
    assert "heads.0.classify.weight" in names
    assert not any("before" in name for name in names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, "without names of classes, each once"),
        ({"classes": ["cat", "cat"]}, "without names of classes, each once"),
        ({"classes": "cat"}, "without names of classes, each once"),
        ({"image_size": 64}, "image_size is 64, not height and width"),
        ({"image_size": [64, -1]}, r"image_size is \[64, -1\], not"),
        ({"detecting": None}, "whose 'detecting' part has"),
        ({"detecting": {}}, "'detecting' part has missing a required argument"),
        ({"detecting": DETECTING | {"x": 1}}, "'detecting' part has got an unexpected keyword"),
        ({"detecting": DETECTING | {"iou_threshold": "1"}}, "detecting.iou_threshold is '1'"),
        ({"detecting": DETECTING | {"clip_boxes": 1}}, "detecting.clip_boxes is 1"),
    ],
    ids=str,
)
def test_a_checkpoint_that_says_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, changes: dict, message: str
) -> None:
    network = make_network("small", 3, image_size=64, width=0.5)
    said = describe(
        network, ["cat", "dog"], arguments("small", image_size=64, width=0.5), DETECTING
    )
    torch.save({"ssd": said | changes, "state_dict": {}, "global_step": 1}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(tmp_path / "a.ckpt")
    assert "\n" not in str(caught.value)
    torch.save({"ssd": said, "state_dict": {}, "global_step": 1}, tmp_path / "a.ckpt")
    assert load_checkpoint(tmp_path / "a.ckpt")["ssd"] == said
