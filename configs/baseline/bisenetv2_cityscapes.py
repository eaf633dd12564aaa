"""BiSeNetV2 with the boundary loss on Cityscapes: batch 32, FP32, deterministic. The other three are measured by it."""

_base_ = [
    '../_base_/models/bisenetv2.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_150k_cityscapes.py',
]
model = dict(eval_scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), eval_flip=True)  # twelve passes per image
optimizer = dict(lr=1e-2)  # linear scaling: 5e-3 at batch 16
runner = dict(max_iters=75000)  # as many images as 150,000 iterations of 16
seed = 0
deterministic = True  # 5-10 % slower, says the guide
cudnn_benchmark = False
