"""accelerate's side: a plain loop whose parts it prepares, its saved state, and its way to skip batches."""

import shutil

from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from mmengine.model import BaseModel

from .protocol import LOG_EVERY, Run
from .tasks import batch_loss, build_network

__all__ = ['train']


def train(run: Run) -> BaseModel:
    """Train with accelerate and return the network."""
    accelerator = Accelerator(dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True))
    set_seed(0)
    network = build_network(run.task)
    optimizer, schedule = run.optimizer(network)
    loader = run.loader()
    network, optimizer, loader, schedule = accelerator.prepare(network, optimizer, loader, schedule)
    folder = run.work_dir / 'state'
    iteration = 0
    if run.resume:
        accelerator.load_state(str(folder))
        iteration = int((folder / 'iteration').read_text())
    network.train()
    epoch, done_of_epoch = divmod(iteration, len(loader))
    while iteration < run.iters:
        loader.set_epoch(epoch)
        batches = accelerator.skip_first_batches(loader, done_of_epoch) if done_of_epoch else loader
        for batch in batches:
            loss = batch_loss(network, batch)
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            iteration += 1
            if iteration % LOG_EVERY == 0:
                print(f'{iteration}/{run.iters} loss {loss.item():.4f} lr {schedule.get_last_lr()[0]:.2e}')
            run.on_step(loss)
            if run.save_every and iteration % run.save_every == 0:
                part = folder.with_suffix('.part')
                accelerator.save_state(str(part))
                (part / 'iteration').write_text(str(iteration))
                shutil.rmtree(folder, ignore_errors=True)
                part.rename(folder)
            if iteration == run.iters:
                break
        epoch, done_of_epoch = epoch + 1, 0
    return accelerator.unwrap_model(network)
