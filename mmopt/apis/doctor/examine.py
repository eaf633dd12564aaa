"""All of the doctor's lines, for a machine alone or for a machine and a config."""

from typing import Any

import torch
from mmengine.config import Config

from mmopt.apis.doctor.check import Check
from mmopt.apis.doctor.disk import look_at_disk
from mmopt.apis.doctor.machine import check_machine, look_at_machine
from mmopt.apis.doctor.settings import check_settings
from mmopt.apis.doctor.versions import check_versions, installed_versions
from mmopt.apis.run.facts import build_dataset, data_folders, model_skeleton
from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['examine']


def examine(cfg: Config | None = None) -> list[Check]:
    """Look at everything.

    Args:
        cfg: A lowered config; None looks at machine and installation alone.

    Returns:
        One line per thing: ok, or what to do.

    Raises:
        UserError: If the config trains nothing.
    """
    if cfg is not None and not (cfg.get('train_dataloader') and cfg.get('optim_wrapper')):
        raise UserError(f'{cfg.filename}: the config trains nothing, so there is nothing to examine.')
    machine = look_at_machine()
    has_conv3d = None if cfg is None else _has_conv3d(cfg)
    checks = check_versions(installed_versions(), has_conv3d) + check_machine(machine)
    if cfg is None:
        return checks
    dataset, folders, reason = _try_dataset(cfg)
    if reason:
        checks.append(
            Check(
                'data set',
                reason,
                f'mend {spelled("train_dataloader.dataset")} first; the lines below do without it',
                is_fault=True,
            )
        )
    disk = look_at_disk(folders, dataset, cfg.work_dir)
    num_train = 0 if dataset is None else len(dataset)
    return checks + check_settings(cfg, machine, num_train=num_train, folders=folders, disk=disk)


def _has_conv3d(cfg: Config) -> bool:
    return any(isinstance(module, torch.nn.Conv3d) for module in model_skeleton(cfg).modules())


def _try_dataset(cfg: Config) -> tuple[Any, dict[str, bool], str]:
    """Build the training data set; return why not in the place of an error."""
    try:
        dataset = build_dataset(cfg, 'train_dataloader')
        folders = data_folders(dataset)
        if dataset is not None and len(dataset):
            dataset[0]
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        text = ' '.join(str(error).split())
        return None, {}, text
    return dataset, folders, ''
