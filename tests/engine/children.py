"""Real training processes for tests: forked from a server that has the imports, so that each starts in milliseconds."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmopt.apis.cli.errors import run_tool
from mmopt.registry import HOOKS, RUNNERS
from tests.engine import toy  # noqa: F401  registers the toy task

TIMEOUT_S = 60


@cache
def _server() -> multiprocessing.context.ForkServerContext:
    # There is one server per process: whoever needed it before has not preloaded what is needed here.
    forkserver._forkserver._stop()
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['pytest', __name__, 'tests.engine.preload'])
    return context


@HOOKS.register_module(force=True)
class ReportHook(Hook):
    """Tell the test how far the process is; where the test wants to act, wait until it has.

    Args:
        wait_at: Points at which to wait, e.g. ``'train 3'``.
    """

    priority = 'VERY_HIGH'
    line: Connection | None = None

    def __init__(self, wait_at: tuple[str, ...] = ()) -> None:
        self.wait_at = wait_at

    def _report(self, point: str) -> None:
        self.line.send(point)
        if point in self.wait_at:
            self.line.recv()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._report(f'train {runner.iter + 1}')

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self._report(f'val {runner.train_loop.iters_done}.{batch_idx}')


def _train(cfg: dict) -> None:
    RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg)).train()


def _main(target: Callable, args: tuple, output: str, environment: dict[str, str], line: Connection) -> None:
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment)
    sys.argv = ['tools/train.py', 'configs/toy.py']
    torch.set_num_threads(1)
    ReportHook.line = line
    run_tool(lambda: target(*args))


class Child:
    """One process.

    Args:
        output: File that takes what it prints.
        *args: For ``target``.
        target: What it runs, as a tool: its errors become exit codes. Without one: train the config ``args[0]``.
        environment: Added to its environment.
    """

    def __init__(
        self, output: Path, *args, target: Callable = _train, environment: dict[str, str] | None = None
    ) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        self.output = output
        self.line, theirs = _server().Pipe()
        self.process = _server().Process(target=_main, args=(target, args, str(output), environment or {}, theirs))
        self.process.start()
        theirs.close()

    def wait_for(self, point: str) -> None:
        """Wait until it reports a point."""
        try:
            while self.line.poll(TIMEOUT_S):
                if self.line.recv() == point:
                    return
        except EOFError:
            pass
        raise AssertionError(f'the process never reached {point!r}:\n{self.text}')

    def go_on(self) -> None:
        self.line.send('go')

    def signal(self, signum: int) -> None:
        os.kill(self.process.pid, signum)

    def finish(self) -> int:
        """Wait for its end and return the exit code; minus the signal that killed it."""
        self.process.join(TIMEOUT_S)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f'the process hangs:\n{self.text}')
        self.line.close()
        return self.process.exitcode

    def wait_for_text(self, text: str) -> None:
        """Wait until it has printed something."""
        end = time.monotonic() + TIMEOUT_S
        while text not in self.text:
            assert time.monotonic() < end, f'the process never printed {text!r}:\n{self.text}'
            time.sleep(0.005)

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text() if self.output.exists() else ''


def ranks_of(world_size: int) -> list[dict[str, str]]:
    """Return what torchrun would put into the environment of each rank, with a free port."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    shared = dict(WORLD_SIZE=str(world_size), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    return [dict(shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(world_size)]
