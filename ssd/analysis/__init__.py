"""What the detections of a split say about a detector: errors, confusions, calibration, thresholds,
sizes and how far its score may be chance.

Pure functions on the columns of `ops.precision`: truths and detections of all images, labels from
1, boxes in pixels. They take and give no files, and every record turns into JSON as it is, once
nan is written as null.
"""
