"""Every command and config of docs/your_own_data.md."""

import re
import shlex

import pytest

from mmopt.apis.config import load_config
from tests.conftest import REPO, load_script

PAGE = (REPO / 'docs' / 'your_own_data.md').read_text(encoding='utf-8')
COMMANDS = sorted(
    set(re.findall(r'^python (tools/.+)$', PAGE, re.MULTILINE)) | set(re.findall(r'`python (tools/.+?)`', PAGE))
)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_of_the_page_is_one_that_its_tool_takes(command):
    script, *arguments = shlex.split(command)
    args = load_script(script).parse_args(arguments)
    config = getattr(args, 'config', None) or getattr(args, 'source', None)
    if str(config).startswith('configs/'):
        load_config(REPO / str(config), options=args.options)


def test_the_page_has_a_check_for_every_task():
    checked = {shlex.split(command)[1] for command in COMMANDS if command.startswith('tools/datasets/check.py')}
    assert len(checked) == 5


@pytest.mark.parametrize(
    'config', ['baseline/bisenetv2_camvid', 'baseline/bisenetv2_cityscapes_max', 'demo/bisenetv2_cityscapes']
)
def test_one_line_sets_the_crop_of_a_segmentation(config):
    cfg = load_config(REPO / 'configs' / f'{config}.py', options=['crop_size=(64, 96)'])
    crops = [
        list(step.crop_size)
        for step in cfg.train_dataloader.dataset.pipeline
        if step.type.endswith('RandomScaleCropFlip')
    ]
    assert crops == [[64, 96]]


def test_the_config_of_the_page_sets_classes_anchors_and_size_once(tmp_path):
    text = re.search(r'```python\n(.*?)```', PAGE, re.DOTALL)[1]
    path = tmp_path / 'mine.py'
    path.write_text(text.replace('./baseline', str(REPO / 'configs' / 'baseline')))
    cfg = load_config(path)
    assert cfg.model.head.num_classes == 2
    assert cfg.val_dataloader.dataset.metainfo.classes == ['car', 'bus']
    assert cfg.val_dataloader.dataset.data_root == 'data/mine'
    assert list(cfg.val_dataloader.dataset.pipeline[1].size) == [384, 640]
