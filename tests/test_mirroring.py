import torch

from ssd.ops.boxes import decode, to_xyxy
from ssd.ops.mirroring import with_mirrored
from ssd.records import Predictions


def test_what_the_mirror_shows_is_turned_back() -> None:
    torch.manual_seed(0)
    anchors = torch.rand(7, 4) * 0.5 + 0.2
    seen, mirrored = (Predictions(torch.randn(2, 7, 3), torch.randn(2, 7, 4)) for _ in range(2))
    both, own_anchors = with_mirrored(seen, mirrored, anchors)
    found = to_xyxy(decode(both.offsets, own_anchors))
    x1, y1, x2, y2 = to_xyxy(decode(mirrored.offsets, anchors)).unbind(-1)
    torch.testing.assert_close(found[:, :7], to_xyxy(decode(seen.offsets, anchors)))
    torch.testing.assert_close(found[:, 7:], torch.stack([1 - x2, y1, 1 - x1, y2], dim=-1))
    assert torch.equal(both.logits, torch.cat([seen.logits, mirrored.logits], dim=1))
