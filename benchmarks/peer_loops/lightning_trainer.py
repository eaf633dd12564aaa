"""Lightning's side: a LightningModule and the Trainer, with its callback for checkpoints."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from mmengine.model import BaseModel
from torch import Tensor

from .protocol import LOG_EVERY, Run
from .tasks import batch_loss, build_network

__all__ = ['train']


class _Module(lightning.LightningModule):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.network = build_network(run.task)

    def training_step(self, batch: dict, batch_idx: int) -> Tensor:
        loss = batch_loss(self.network, batch)
        self.log('loss', loss)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer, schedule = self.run.optimizer(self.network)
        return dict(optimizer=optimizer, lr_scheduler=dict(scheduler=schedule, interval='step'))

    def transfer_batch_to_device(self, batch: dict, device: torch.device, dataloader_idx: int) -> dict:
        return batch  # the network's preprocessor moves it


class _Steps(Callback):
    def __init__(self, run: Run) -> None:
        self.run = run

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.run.on_step(outputs['loss'])


def train(run: Run) -> BaseModel:
    """Train by Lightning and return the network."""
    lightning.seed_everything(0, workers=True, verbose=False)
    module = _Module(run)
    callbacks: list[Callback] = [_Steps(run)]
    if run.save_every:
        callbacks.append(ModelCheckpoint(run.work_dir, every_n_train_steps=run.save_every, save_top_k=1))
    trainer = lightning.Trainer(
        max_steps=run.iters,
        devices=1,
        logger=CSVLogger(run.work_dir),
        callbacks=callbacks,
        log_every_n_steps=LOG_EVERY,
        enable_checkpointing=bool(run.save_every),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.work_dir,
    )
    loader = run.loader()
    newest = next(iter(run.work_dir.glob('*.ckpt'))) if run.resume else None
    trainer.fit(module, loader, ckpt_path=newest)
    return module.network
