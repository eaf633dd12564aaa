"""A tiny regression task that runs the whole engine in milliseconds: noise per sample, dropout, exact normalizers."""

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmopt.datasets.common import SeededDataset
from mmopt.registry import DATASETS, METRICS, MODELS
from mmopt.structures import DataSample
from mmopt.utils.seeding import sample_rng


@DATASETS.register_module(force=True)
class ToyDataset(SeededDataset):
    """``y = 2 x + 1`` with augmentation noise on x and a weight per sample that the loss divides by."""

    def __init__(self, length: int = 24, noise: float = 0.1, **kwargs) -> None:
        self.length = length
        self.noise = noise
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(x=i / self.length, weight=1 + i % 3) for i in range(self.length)]

    def prepare_data(self, idx: int) -> dict:
        item = self.get_data_info(idx)
        x = item['x'] + self.noise * sample_rng(idx).standard_normal()
        sample = DataSample(metainfo=dict(sample_idx=int(idx), epoch=getattr(idx, 'epoch', 0)))
        sample.target = torch.tensor([2 * x + 1], dtype=torch.float32)
        sample.weight = torch.tensor(float(item['weight']))
        return dict(inputs=torch.tensor([x, 1.0], dtype=torch.float32), data_samples=sample)


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """Two linear layers with dropout; the loss is a weighted mean, so unequal micro-batches show."""

    def __init__(self, dropout: float = 0.1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.hidden = nn.Linear(2, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(16, 1)

    def loss_normalizers(self, data_samples: list[DataSample]) -> dict[str, Tensor]:
        return dict(weight=torch.stack([sample.weight for sample in data_samples]).sum())

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        pred = self.out(self.dropout(self.norm(self.hidden(inputs)).relu()))
        if mode == 'loss':
            target = torch.stack([sample.target for sample in data_samples])
            weight = torch.stack([sample.weight for sample in data_samples])
            normalizers = normalizers or self.loss_normalizers(data_samples)
            error = ((pred.float() - target) ** 2).squeeze(-1)
            return dict(loss_fit=(weight * error).sum() / normalizers['weight'])
        if mode == 'predict':
            for sample, value in zip(data_samples, pred, strict=True):
                sample.pred = value
            return data_samples
        return pred


@METRICS.register_module(force=True)
class ToyError(BaseMetric):
    default_prefix = ''

    def process(self, data_batch, data_samples):
        self.results += [abs(float(s['pred'] - s['target'])) for s in data_samples]

    def compute_metrics(self, results):
        return dict(error=sum(results) / len(results), count=len(results))


def toy_config(work_dir, *, max_iters: int = 8, by_epoch: bool = False, **changes) -> dict:
    """Return a native config of a run; ``changes`` replace or, for dicts, update its sections."""
    loop = (
        dict(type='EpochBasedTrainLoop', max_epochs=2)
        if by_epoch
        else dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4)
    )
    cfg = dict(
        default_scope='mmopt',
        runner_type='EpochBasedRunner' if by_epoch else 'IterBasedRunner',
        work_dir=str(work_dir),
        model=dict(type='ToyModel'),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='ResumableSampler', shuffle=True, endless=not by_epoch),
            dataset=dict(type='ToyDataset'),
            collate_fn=dict(type='stack_collate'),
        ),
        val_dataloader=dict(
            batch_size=4,
            sampler=dict(type='EvaluationSampler', shuffle=False),
            dataset=dict(type='ToyDataset', length=6, noise=0.0),
            collate_fn=dict(type='stack_collate'),
        ),
        val_evaluator=dict(type='Evaluator', metrics=[dict(type='ToyError')]),
        train_cfg=loop,
        val_cfg=dict(type='ValLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=2),
            checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
        ),
        log_processor=dict(type='LogProcessor', window_size=2, by_epoch=by_epoch),
        randomness=dict(seed=5),
        env_cfg=dict(cudnn_benchmark=False),
    )
    for key, value in changes.items():
        cfg[key] = {**cfg[key], **value} if isinstance(value, dict) and isinstance(cfg.get(key), dict) else value
    return cfg
