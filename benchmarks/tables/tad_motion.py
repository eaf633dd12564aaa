"""What speeds and accelerations add: `python tools/benchmark.py --table tad_motion --metric --rounds 3`."""

title = 'V7 and V6 on the demo mice: with and without motion features'
source = 'the guide to V7: motion features give 5-15 % more F1'
config = 'configs/demo/tad_v7_mabe.py'
make_demo = 'python tools/datasets/make_demo.py mabe'
alone = ['custom_hooks=[]']  # the demo would train V6 after each V7
# Half the channels: coordinates alone.
positions = [
    *alone,
    'model.encoder.in_channels=48',
    'data.train.pipeline.3.use_motion_features=False',
    'data.val.pipeline.1.use_motion_features=False',
    'data.test.pipeline.1.use_motion_features=False',
]
rows = [
    dict(name='V7, positions alone', options=positions),
    dict(name='V7', options=alone, claimed=dict(metric_loss=(-0.15, -0.05))),
    dict(name='V6, positions alone', config='configs/demo/tad_v6_mabe.py', options=positions),
    dict(name='V6', config='configs/demo/tad_v6_mabe.py', options=alone),
]
