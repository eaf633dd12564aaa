"""The names of ``mmcv``, ``mmcv.utils`` and ``mmcv.fileio`` that are elsewhere now."""

from collections.abc import Mapping

__all__ = ['UTILS', 'same']


def same(module: str, names: str) -> dict[str, str]:
    """Say that names have kept themselves and are in another module now.

    Args:
        module: Where they are.
        names: All of them, with blanks between.

    Returns:
        Name -> ``module:name``.
    """
    return {name: f'{module}:{name}' for name in names.split()}


UTILS: Mapping[str, str] = {
    **same(
        'mmengine.utils',
        'check_file_exist mkdir_or_exist scandir symlink is_filepath fopen is_str iter_cast list_cast '
        'tuple_cast is_seq_of is_list_of is_tuple_of slice_list concat_list check_prerequisites requires_package '
        'requires_executable deprecated_api_warning import_modules_from_strings is_method_overridden has_method '
        'digit_version get_git_hash to_1tuple to_2tuple to_3tuple to_4tuple to_ntuple ProgressBar track_progress '
        'track_parallel_progress track_iter_progress Timer TimerError check_time apply_to is_installed '
        'install_package get_installed_path call_command',
    ),
    **same('mmengine.config', 'Config ConfigDict DictAction'),
    **same(
        'mmengine.fileio',
        'load dump register_handler list_from_file dict_from_file FileClient BaseStorageBackend BaseFileHandler '
        'JsonHandler PickleHandler YamlHandler',
    ),
    **same('mmopt.mmcv1.registry', 'Registry build_from_cfg'),
    **same(
        'mmopt.mmcv1.standins.utilities',
        'get_logger logger_initialized parse_version_info worker_init_fn is_jit_tracing IS_IPU_AVAILABLE '
        'IS_MLU_AVAILABLE _get_dataloader _get_norm _get_conv _get_pool _get_extension is_rocm_pytorch '
        'is_cuda_available get_build_config CUDA_HOME is_running_on_windows load_url',
    ),
    **same(
        'mmopt.mmcv1.standins.testing',
        'assert_dict_has_keys assert_dict_contains_subset assert_attrs_equal assert_keys_equal assert_is_norm_layer '
        'assert_params_all_zeros check_python_script',
    ),
    'file_handlers': 'mmengine.fileio.io:file_handlers',
    'print_log': 'mmengine.logging:print_log',
    **same('mmengine.utils.dl_utils', 'TORCH_VERSION torch_meshgrid'),
    **same('mmcv.utils', 'jit skip_no_elena collect_env'),
    '_BatchNorm': 'torch.nn.modules.batchnorm:_BatchNorm',
    '_InstanceNorm': 'torch.nn.modules.instancenorm:_InstanceNorm',
    'SyncBatchNorm': 'torch.nn:SyncBatchNorm',
    '_ConvNd': 'torch.nn.modules.conv:_ConvNd',
    '_ConvTransposeMixin': 'torch.nn.modules.conv:_ConvTransposeNd',
    **same('torch.nn.modules.pooling', '_MaxPoolNd _AvgPoolNd _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd'),
    'DataLoader': 'torch.utils.data:DataLoader',
    'PoolDataLoader': 'torch.utils.data:DataLoader',
    **same('torch.utils.cpp_extension', 'BuildExtension CppExtension CUDAExtension'),
}
"""Name -> what stands for it."""
