"""YOLOv5m; depth and width make the size: s 0.33 0.5, m 0.67 0.75, l 1.0 1.0, x 1.33 1.25."""

depth = 0.67
width = 0.75
model = dict(
    type='AnchorDetector',
    backbone=dict(type='CSPDarknet', depth=depth, width=width),
    neck=dict(type='PathAggregation', depth=depth),
    head=dict(
        type='AnchorHead',
        num_classes='=len(classes) or 1',
        # Fitted to COCO at 640 pixels; `python tools/fit_anchors.py CONFIG` proposes others for other data.
        anchors=[
            [(10, 13), (16, 30), (33, 23)],
            [(30, 61), (62, 45), (59, 119)],
            [(116, 90), (156, 198), (373, 326)],
        ],
    ),
    iou_loss='ciou',
    box_weight=0.05,
    objectness_weight=1.0,
    class_weight=None,  # 0.5 for COCO's 80 classes, in proportion for fewer: they have less to tell apart
    level_weights=(4.0, 1.0, 0.4),  # small objects are many and hard
    max_ratio=4.0,
    # Weak candidates count for mAP; the metric reports the best confidence for use.
    score_threshold=0.05,
    nms_iou=0.5,
    data_preprocessor=dict(
        type='ImagePreprocessor',
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        host_fields=('photometric', 'boxes', 'labels', 'truth'),  # the model copies the boxes of a batch at once
    ),
)
