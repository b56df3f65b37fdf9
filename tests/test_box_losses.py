import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou

from ssd.errors import ConfigError
from ssd.models.box_losses import giou, l1, smooth_l1
from ssd.ops.boxes import encode, to_cxcywh


def positives(rows: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets, boxes xyxy and anchors cxcywh."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(rows, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.05 + 0.4 * torch.rand(rows, 2, generator=generator)], dim=1)
    anchors = to_cxcywh(boxes) * (0.8 + 0.4 * torch.rand(rows, 4, generator=generator))
    return torch.randn(rows, 4, generator=generator), boxes, anchors


def differences() -> Tensor:
    """Of the offsets to the encoded truth, in double precision."""
    offsets, boxes, anchors = (part.double() for part in positives())
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2 - anchors[:, :2]) / anchors[:, 2:] / 0.1
    sizes = ((boxes[:, 2:] - boxes[:, :2]) / anchors[:, 2:]).log() / 0.2
    return (offsets - torch.cat([centers, sizes], dim=1)).abs()


@pytest.mark.parametrize("beta", [0.1, 1, 3])
def test_smooth_l1_is_a_parabola_up_to_beta_and_a_line_beyond(beta: float) -> None:
    d = differences()
    assert 0 < (d < beta).sum() < d.numel()
    expected = torch.where(d < beta, d**2 / (2 * beta), d - beta / 2).sum(dim=1)
    torch.testing.assert_close(smooth_l1(*positives(), beta=beta), expected.float())


def test_l1_sums_the_differences_of_a_box() -> None:
    torch.testing.assert_close(l1(*positives()), differences().sum(dim=1).float())


def test_giou_equals_torchvisions_of_the_decoded_boxes() -> None:
    offsets, boxes, anchors = positives()
    centers = anchors[:, :2] + offsets[:, :2] * 0.1 * anchors[:, 2:]
    sizes = anchors[:, 2:] * (offsets[:, 2:] * 0.2).exp()
    decoded = box_convert(torch.cat([centers, sizes], dim=1), "cxcywh", "xyxy")
    expected = 1 - generalized_box_iou(decoded, boxes).diagonal()
    torch.testing.assert_close(giou(offsets, boxes, anchors), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [l1, giou])
def test_the_right_offsets_cost_nothing(loss: type) -> None:
    _, boxes, anchors = positives()
    costs = loss(encode(to_cxcywh(boxes), anchors), boxes, anchors)
    assert costs.abs().max().item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("loss", [l1, giou])
def test_no_positives_cost_nothing_and_give_a_gradient(loss: type) -> None:
    nothing = torch.zeros(0, 4, requires_grad=True)
    total = loss(nothing, torch.zeros(0, 4), torch.zeros(0, 4)).sum()
    total.backward()
    assert total == 0


@pytest.mark.parametrize("beta", [0, -1])
def test_a_beta_without_a_parabola_is_refused(beta: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss\.box\.beta={beta}: give a number above 0"):
        smooth_l1(*positives(), beta=beta)
