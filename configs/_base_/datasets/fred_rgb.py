"""FRED's RGB frames at 640 pixels; run tools/datasets/prepare_fred.py on the download first."""

dataset_type = 'CocoDataset'
data_root = 'data/fred'
# Size of the network's input, one number or height and width. It is read last, as `classes` are where a config names
# them (else they are those of the json, one for the model): other data need one line for each.
size = 640
mosaic_stop_epoch = 210  # 70 % of the baseline's 300 epochs; the schedule's file and this number go together
load = [dict(type='LoadImageFromFile')]
place = dict(type='RandomLetterbox', size='=size', scale=(0.5, 1.5), aspect=0.1)
mosaic = dict(type='Mosaic', size='=size', prob=0.5, stop_epoch=mosaic_stop_epoch, load=load)
mixup = dict(type='MixUp', prob=0.5, load=[*load, place])  # of mosaics alone, so it stops with them
flip = dict(type='RandomFlipBoxes', prob=0.5)
colors = dict(type='DrawHSV', hue=0.015, saturation=0.7, value=0.4)
pack = dict(type='PackDetection')
test_pipeline = [*load, dict(type='Letterbox', size='=size'), pack]
metainfo = dict(classes='=classes')
data = dict(
    samples_per_gpu=16,  # optimizer.lr is written for it; phases with another batch scale the rate
    workers_per_gpu=4,
    persistent_workers=True,
    # Without gradients twice as much fits.
    val_dataloader=dict(samples_per_gpu=32),
    test_dataloader=dict(samples_per_gpu=32),
    train=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/rgb_train.json',
        pipeline=[*load, mosaic, mixup, place, flip, colors, pack],
    ),
    # mAP is chosen on the validation split; the test split is for the end.
    val=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/rgb_val.json',
        pipeline=test_pipeline,
    ),
    test=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/rgb_test.json',
        pipeline=test_pipeline,
    ),
)
