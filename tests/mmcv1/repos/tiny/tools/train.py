"""The training script of the small repository, as such scripts were."""

import argparse

import mmcv
from mmcv.runner import build_runner
from tinynet.datasets import build_dataset
from tinynet.models import MODELS


def main():
    from some_missing_package import nothing  # noqa: F401

    cfg = mmcv.Config.fromfile(argparse.ArgumentParser().parse_args().config)
    MODELS.build(cfg.model)
    build_dataset(cfg.data.train)
    build_runner(cfg.runner)


if __name__ == '__main__':
    main()
