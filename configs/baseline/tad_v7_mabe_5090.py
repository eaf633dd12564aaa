"""V7 on MABe for a card of 32 GB: batch 32 in FP16, which the published guide puts at 10-12 GB."""

_base_ = [
    '../_base_/models/tad_v7.py',
    '../_base_/datasets/mabe.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_100e_tad.py',
]
fp16 = dict(loss_scale='dynamic')  # the LSTM's gradients vary too much for a fixed scale
# On a smaller card a step goes in parts of 24, 16, 12, ...: 48 or 32 windows per step all the same.
optimize = dict(micro_batch='auto')
