"""What feeds a trained model, from its config: the data set whose test pipeline sources go through."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmopt.apis.custom_imports import import_custom_modules
from mmopt.apis.extension import provide_extension
from mmopt.apis.predict.foreign.data import ForeignData, is_foreign
from mmopt.engine.resume.saved_config import saved_config
from mmopt.registry import DATASETS
from mmopt.utils.errors import DataError, UserError

__all__ = ['build_dataset', 'evaluation_loader', 'innermost', 'metric_configs', 'own_config']


def own_config(checkpoint: str, content: Mapping[str, Any]) -> Config:
    """Return the config that a checkpoint was trained with."""
    source = saved_config(content)
    if not source.get('model'):
        raise UserError(f'{checkpoint} does not hold the config that it was trained with: name the config before it.')
    provide_extension(source)
    import_custom_modules(Path(checkpoint), source.get('custom_imports'))
    return Config(source)


def evaluation_loader(cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of the loader of the test, else of the validation."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise UserError(
            'The config has neither a test nor a validation data set: their pipeline is what pictures go through.'
        )
    return loader


def innermost(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the first data set inside wrappers."""
    while 'pipeline' not in section and (inside := section.get('dataset') or section.get('datasets')):
        section = inside if isinstance(inside, Mapping) else inside[0]
    return dict(section)


def build_dataset(section: Mapping[str, Any], meta: Mapping[str, Any], checkpoint: str, cfg: Config) -> Any:
    """Build the data set for its pipeline and its task's knowledge: no annotation is read if classes are known."""
    kind = section['type'] if isinstance(section['type'], type) else DATASETS.get(section['type'])
    takes_part = hasattr(kind, 'predict_info') and hasattr(kind, 'result_type')
    if kind is not None and not takes_part and is_foreign(kind):
        return ForeignData(kind, section, meta.get('dataset_meta') or {}, cfg)
    if not takes_part:
        name = getattr(kind, '__name__', section['type'])
        raise UserError(
            f'{name}: it does not say how sources become samples. A data set of your own takes part with predict_info, '
            'to_result and result_type (docs/predict.md).'
        )
    metainfo = dict(section.get('metainfo') or {})
    known = metainfo.get('classes') or getattr(kind, 'METAINFO', {}).get('classes')
    if not known and (trained := (meta.get('dataset_meta') or {}).get('classes')):
        metainfo['classes'] = tuple(trained)
    dataset = DATASETS.build(dict(section, metainfo=metainfo, lazy_init=True))
    if not dataset.metainfo.get('classes'):
        try:
            dataset.full_init()
        except (DataError, OSError) as error:
            raise UserError(
                f'{checkpoint} and the config name no classes, and the data set could not be asked: {error} '
                "Say metainfo=dict(classes=('name', ...)) in the data set."
            ) from error
    return dataset


def metric_configs(cfg: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the configs of the evaluation's metrics."""
    evaluator = cfg.get('test_evaluator') or cfg.get('val_evaluator') or []
    if isinstance(evaluator, Mapping):
        evaluator = evaluator.get('metrics', evaluator)
    return [evaluator] if isinstance(evaluator, Mapping) else [one for one in evaluator if isinstance(one, Mapping)]
