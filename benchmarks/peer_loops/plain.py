"""A plain PyTorch loop, written well: it saves whole files, restores generators and replays the loader's epoch."""

import os
import random
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel

from .protocol import LOG_EVERY, Run
from .tasks import batch_loss, build_network

__all__ = ['train']


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return dict(torch=torch.get_rng_state(), numpy=np.random.get_state(), python=random.getstate(), cuda=cuda)


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state['torch'])
    np.random.set_state(state['numpy'])
    random.setstate(state['python'])
    torch.cuda.set_rng_state_all(state['cuda'])


def train(run: Run) -> BaseModel:
    """Train and return the network."""
    torch.manual_seed(0)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    network = build_network(run.task).to(device).train()
    optimizer, schedule = run.optimizer(network)
    loader = run.loader()
    path = run.work_dir / 'last.pt'
    iteration, done_of_epoch = 0, 0
    state: dict[str, Any] = {}
    if run.resume:
        # Generators of NumPy and Python are no tensors; the file is our own.
        state = torch.load(path, map_location=device, weights_only=False)
        network.load_state_dict(state['network'])
        optimizer.load_state_dict(state['optimizer'])
        schedule.load_state_dict(state['schedule'])
        iteration, done_of_epoch = state['iteration'], state['done_of_epoch']
        _set_random_state(state['epoch_random'])

    while iteration < run.iters:
        epoch_random = _random_state()
        batches = iter(loader)
        for _ in range(done_of_epoch):
            next(batches)
        if done_of_epoch:
            _set_random_state(state['random'])
        for batch in batches:
            loss = batch_loss(network, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            iteration += 1
            done_of_epoch += 1
            if iteration % LOG_EVERY == 0:
                print(f'{iteration}/{run.iters} loss {loss.item():.4f} lr {schedule.get_last_lr()[0]:.2e}')
            run.on_step(loss)
            if run.save_every and iteration % run.save_every == 0:
                content = dict(
                    network=network.state_dict(),
                    optimizer=optimizer.state_dict(),
                    schedule=schedule.state_dict(),
                    iteration=iteration,
                    done_of_epoch=done_of_epoch,
                    epoch_random=epoch_random,
                    random=_random_state(),
                )
                torch.save(content, path.with_suffix('.part'))
                os.replace(path.with_suffix('.part'), path)
            if iteration == run.iters:
                break
        done_of_epoch = 0
    return network
