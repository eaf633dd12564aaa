"""What kind of value each key of the dialect takes: a wrong one is refused by name, not by a TypeError further down."""

from collections.abc import Callable, Mapping
from typing import Any

from mmopt.config.precision import AUTO, DTYPE_NAMES

__all__ = ['wrong_value']


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(test(item) for item in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_KINDS: dict[str, Callable[[Any], bool]] = {
    'a dict': lambda value: isinstance(value, Mapping),
    'a list': lambda value: isinstance(value, list | tuple),
    'a list of dicts': _all(lambda item: isinstance(item, Mapping)),
    'a text': _is_text,
    'a list of texts': _all(_is_text),
    # A config that was built in Python may name a class itself.
    'a name or a class': lambda value: isinstance(value, str | type),
    'True or False': lambda value: value in (0, 1) if isinstance(value, int) else False,
    'a whole number': _is_whole,
    "a positive whole number or 'auto'": lambda value: value == 'auto' or (_is_whole(value) and value > 0),
    'a positive whole number': lambda value: _is_whole(value) and value > 0,
    'a whole number or a list of them': lambda value: _is_whole(value) or _all(_is_whole)(value),
    'a number': _is_number,
    'a number or a list of them': lambda value: _is_number(value) or _all(_is_number)(value),
    'a list of numbers': _all(_is_number),
    "'disk' or 'ram'": lambda value: value in ('disk', 'ram'),
    "'auto', 'fp32', 'fp16' or 'bf16'": lambda value: value in (AUTO, *DTYPE_NAMES),
}

# Kind -> keys, at the top level or in any section: a name means the same everywhere but for those that are missing here
# (`interval`, `metric`, `loss_scale`, batch sizes and lengths), which their sections check themselves.
_KEYS: dict[str, str] = {
    'a dict': 'model data optimizer optimizer_config checkpoint_config evaluation log_config fp16 bf16 dist_params '
    'auto_scale_lr custom_imports train_cfg test_cfg paramwise_cfg custom_keys grad_clip train_dataloader '
    'val_dataloader test_dataloader runner bad_numbers',
    'a list': 'workflow dynamic_intervals',
    'a list of dicts': 'hooks',
    'a text': 'constructor warmup anneal_strategy out_dir filename_tmpl load_from resume_from work_dir launcher '
    'mp_start_method backend default_scope data_root cache_dir action',
    'a list of texts': 'greater_keys less_keys',
    'a name or a class': 'type',
    'True or False': 'by_epoch warmup_by_epoch three_phase pin_memory persistent_workers shuffle drop_last save_last '
    'save_optimizer sync_buffer at_end auto_resume cudnn_benchmark find_unused_parameters deterministic enable '
    'background bypass_duplicate nesterov amsgrad ignore_last skip_buffers',
    'a whole number': 'warmup_iters max_keep_ckpts start opencv_num_threads seed num_last_epochs warm_up total_iter',
    "a positive whole number or 'auto'": 'prefetch_factor',
    'a positive whole number': 'max_in_a_row max_rollbacks cyclic_times total_steps base_batch_size',
    'a whole number or a list of them': 'step',
    'a number': 'lr weight_decay eps gamma power min_lr min_lr_ratio min_momentum min_momentum_ratio warmup_ratio '
    'start_percent step_ratio_up pct_start div_factor final_div_factor lr_mult decay_mult bias_lr_mult bias_decay_mult '
    'norm_decay_mult dwconv_decay_mult dcn_offset_lr_mult max_norm momentum lr_factor',
    'a number or a list of them': 'target_ratio max_lr base_momentum max_momentum',
    'a list of numbers': 'betas restart_weights periods',
    "'disk' or 'ram'": 'cache',
    "'auto', 'fp32', 'fp16' or 'bf16'": 'precision',
}
_KIND_OF = {key: kind for kind, keys in _KEYS.items() for key in keys.split()}


def wrong_value(key: Any, value: Any) -> str | None:
    """Tell what a key takes when its value is of another kind.

    Args:
        key: The key, without its section.
        value: Its value; None always passes: it stands for a key that is not there.

    Returns:
        The kind in words, None if the value will do.
    """
    kind = _KIND_OF.get(key) if isinstance(key, str) else None
    return None if kind is None or value is None or _KINDS[kind](value) else kind
