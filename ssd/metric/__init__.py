"""What a split scores: average precision by the rules of VOC and of COCO.

The VOC numbers come from `ops.precision`, the COCO numbers from faster-coco-eval where it is
installed and from pycocotools where it is not, equal to the last digit.
"""

from ssd.metric.detection import DetectionMetric
from ssd.metric.records import coco_ground_truth, coco_results
from ssd.metric.scores import SUMMARY

__all__ = ["SUMMARY", "DetectionMetric", "coco_ground_truth", "coco_results"]
