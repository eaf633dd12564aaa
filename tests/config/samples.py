"""A small complete config of the dialect, to be varied by tests."""

import copy


def make_config(**changes) -> dict:
    """Return an iteration-based config; a dict in `changes` updates its section, None removes it, all else replaces."""
    cfg = dict(
        model=dict(type='Net'),
        data=dict(
            samples_per_gpu=4,
            workers_per_gpu=2,
            train=dict(type='Data', data_root='data/x'),
            val=dict(type='Data', data_root='data/x'),
            test=dict(type='Data', data_root='data/x'),
        ),
        optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
        optimizer_config=dict(),
        lr_config=dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False),
        runner=dict(type='IterBasedRunner', max_iters=100),
        checkpoint_config=dict(by_epoch=False, interval=10),
        evaluation=dict(interval=10, metric='mIoU'),
        log_config=dict(interval=50, hooks=[dict(type='TextLoggerHook', by_epoch=False)]),
    )
    for key, value in copy.deepcopy(changes).items():
        if value is None:
            cfg.pop(key, None)
        elif isinstance(value, dict) and isinstance(cfg.get(key), dict):
            cfg[key].update(value)
        else:
            cfg[key] = value
    return cfg


def make_epoch_config(**changes) -> dict:
    """The same, epoch-based."""
    cfg = make_config()
    cfg['runner'] = dict(type='EpochBasedRunner', max_epochs=12)
    cfg['lr_config'] = dict(policy='step', step=[8, 11])
    cfg['checkpoint_config'] = dict(interval=1)
    cfg['evaluation'] = dict(interval=1, metric='mIoU')
    cfg['log_config'] = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
    for key, value in copy.deepcopy(changes).items():
        if value is None:
            cfg.pop(key, None)
        elif isinstance(value, dict) and isinstance(cfg.get(key), dict):
            cfg[key].update(value)
        else:
            cfg[key] = value
    return cfg
