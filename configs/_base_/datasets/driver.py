"""Driver actions, fold 0 of 5; run tools/datasets/prepare_driver.py first.

Another fold: --options data.train.split_file=splits/fold_1_train.txt data.val.split_file=splits/fold_1_val.txt
"""

dataset_type = 'DriverActionDataset'
data_root = 'data/driver'
# Read last: another config sets them here and nowhere else.
classes = ['left', 'right', 'down', 'up', 'right_up', 'right_down', 'left_down', 'left_up', 'front']
img_size = 224
common = dict(
    type=dataset_type,
    data_root=data_root,
    load_rgb=True,
    load_kpt=False,
    metainfo=dict(classes='=classes'),
    img_size='=img_size',
    uniform_temporal_subsample_num=8,
    num_io_threads=3,  # one per view
)
data = dict(
    samples_per_gpu=4,
    workers_per_gpu=4,
    val_dataloader=dict(samples_per_gpu=4),
    test_dataloader=dict(samples_per_gpu=4),
    train=dict(**common, split_file='splits/fold_0_train.txt'),
    val=dict(**common, split_file='splits/fold_0_val.txt', test_mode=True),
    test=dict(**common, split_file='splits/fold_0_val.txt', test_mode=True),
)
