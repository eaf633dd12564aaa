"""YOLOv5m on FRED: the slow recipe's two phases and the fast one's, whose hours add up to the guide's 39 and 10.75.

Each row trains one phase alone; its hours are its measured time per iteration, extended to the phase's epochs over all
of FRED's training images. What the guide says of a whole recipe is the sum of two rows.
"""

title = 'YOLOv5m on FRED, RGB: 300 epochs in FP32 against 150 in FP16, phase by phase (hours extrapolated)'
source = (
    'the guide to YOLOv5 on FRED, for an RTX 3090 of 24 GB: 39 h for rows 1 and 2 together, 10.75 h for rows 3 and 4 '
    '(3.6 times less)'
)
config = 'configs/baseline/yolov5m_fred_rgb.py'
fast = 'configs/baseline/yolov5m_fred_rgb_fast.py'
num_train = 33_834  # 70 % of 48,335 images
num_val = 7_250
make_demo = 'python tools/datasets/make_demo.py fred'
demo_options = ['data.data_root=data/demo/fred']
frozen = "phases=[{'freeze':['backbone']}]"
rows = [
    dict(
        name='slow, 50 epochs frozen, batch 16',
        options=[frozen, 'runner.max_epochs=50', 'data.samples_per_gpu=16'],
    ),
    dict(
        name='slow, 250 epochs, batch 8',
        options=['phases=None', 'runner.max_epochs=250', 'data.samples_per_gpu=8', 'optimizer.lr=2.5e-3'],
    ),
    dict(
        name='fast, 30 epochs frozen, batch 32',
        config=fast,
        options=[frozen, 'runner.max_epochs=30', 'data.samples_per_gpu=32', 'optimizer.lr=1e-2'],
        claimed=dict(memory_gib=(8.0, 8.0)),
    ),
    dict(
        name='fast, 120 epochs, batch 16',
        config=fast,
        options=['phases=None', 'runner.max_epochs=120', 'data.samples_per_gpu=16'],
        claimed=dict(memory_gib=(12.0, 14.0)),
    ),
]
slow_run = ['slow, 50 epochs frozen, batch 16', 'slow, 250 epochs, batch 8']
fast_run = ['fast, 30 epochs frozen, batch 32', 'fast, 120 epochs, batch 16']
sums = [
    dict(name='slow, 300 epochs', of=slow_run, claimed=dict(hours=(39.0, 39.0))),
    dict(name='fast, 150 epochs', of=fast_run, claimed=dict(hours=(10.75, 10.75), schedule_speed=(3.6, 3.6))),
    # Stated: 20 % faster once more.
    dict(
        name='fast, without evaluation',
        of=fast_run,
        validate=False,
        claimed=dict(hours=(8.96, 8.96), schedule_speed=(4.35, 4.35)),
    ),
]
