import torch
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder

from ssd.ops.boxes import decode, encode, pairwise_iou, to_cxcywh, to_xyxy


def random_boxes(*shape: int) -> torch.Tensor:
    corners = torch.rand(*shape, 2, 2).sort(dim=-2).values
    return corners.flatten(-2) + torch.tensor([0, 0, 0.01, 0.01])


def test_decode_inverts_encode() -> None:
    boxes, anchors = to_cxcywh(random_boxes(3, 50)), to_cxcywh(random_boxes(50))
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes)


def test_a_box_on_its_anchor_has_no_offset() -> None:
    anchors = to_cxcywh(random_boxes(5))
    assert encode(anchors, anchors).abs().max() == 0


def test_offsets_are_in_tenths_of_the_anchor_and_fifths_of_the_log_size() -> None:
    anchor, box = torch.tensor([0.5, 0.5, 0.2, 0.4]), torch.tensor([0.52, 0.46, 0.4, 0.4])
    expected = torch.tensor(
        [0.02 / 0.2 / 0.1, -0.04 / 0.4 / 0.1, torch.log(torch.tensor(2.0)) / 0.2, 0]
    )
    torch.testing.assert_close(encode(box, anchor), expected)


def test_encoding_equals_torchvisions_coder() -> None:
    boxes, anchors = random_boxes(40), random_boxes(40)
    ours = encode(to_cxcywh(boxes), to_cxcywh(anchors))
    theirs = BoxCoder((10.0, 10.0, 5.0, 5.0)).encode_single(boxes, anchors)
    torch.testing.assert_close(ours, theirs)


def test_conversions_equal_torchvisions() -> None:
    boxes = random_boxes(7)
    torch.testing.assert_close(to_cxcywh(boxes), ops.box_convert(boxes, "xyxy", "cxcywh"))
    torch.testing.assert_close(to_xyxy(to_cxcywh(boxes)), boxes)


def test_iou_over_a_batch_equals_torchvisions() -> None:
    boxes, others = random_boxes(4, 6), random_boxes(9)
    expected = torch.stack([ops.box_iou(image, others) for image in boxes])
    torch.testing.assert_close(pairwise_iou(boxes, others), expected)


def test_empty_boxes_have_no_iou_rather_than_nan() -> None:
    assert pairwise_iou(torch.zeros(1, 4), torch.zeros(2, 4)).tolist() == [[0, 0]]
