"""V7 on MABe, the whole card: batch 48, which the published guide puts at 15-18 GB."""

_base_ = ['./tad_v7_mabe_5090.py']
data = dict(samples_per_gpu=48)
optimizer = dict(lr=2e-4)  # 1.5e-4 at batch 32; less than linear (2.25e-4), as published
