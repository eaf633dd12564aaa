"""Every tool on a library that knows nothing of mmopt: its scope, data set, pipeline, samples, model and visualizer."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from torch.testing import assert_close

from mmopt.apis.bench.settings import Setting, TrialPlan
from mmopt.apis.bench.trial import run_trial
from mmopt.apis.config import load_config
from mmopt.apis.doctor import examine
from mmopt.apis.export.export import export_model
from mmopt.apis.memory.estimate import estimate_memory
from mmopt.apis.memory.samples import SampleSource, batch_maker
from mmopt.apis.memory.table import format_report
from mmopt.apis.pictures.browse import browse
from mmopt.apis.run.evaluate import evaluate
from mmopt.apis.run.facts import model_config, model_skeleton
from mmopt.apis.run.train import train
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.optim import OptimWrapper
from mmopt.registry import MODELS
from mmopt.structures import split_batch
from mmopt.utils.errors import UserError
from tests.apis.shapelib import BLUE_BGR, library_config, shapelib, write, write_images


@pytest.fixture(scope='module', autouse=True)
def library(tmp_path_factory) -> Iterator[None]:
    with shapelib(tmp_path_factory.mktemp('shapelib')):
        yield


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture
def cfg(images, tmp_path) -> Config:
    return load_config(write(tmp_path / 'shapes_config.py', library_config(images, tmp_path / 'work')))


def enter(cfg: Config) -> None:
    init_default_scope(cfg.default_scope)


# ------------------------------------------------------------------------------------------------- memory
@pytest.fixture(scope='module')
def report(images, tmp_path_factory, library):
    folder = tmp_path_factory.mktemp('estimate')
    config = write(folder / 'shapes_config.py', library_config(images, folder / 'work'))
    return estimate_memory(config, batch_sizes=[2, 4])


def test_memory_is_estimated_from_the_users_own_data(report):
    small, large = report.cases
    assert small['batches'] == 'the largest of 6 samples of the data'
    assert large['parts']['inputs'] == pytest.approx(2 * small['parts']['inputs'], rel=0.1)
    assert small['most']['activations'] > 2 * 4 * 24 * 32 * 4  # the convolution's result alone
    assert 'batches of the largest of 6 samples of the data.' in format_report(report)


def test_the_largest_samples_make_the_batch_and_it_is_a_list_as_the_library_collates(cfg):
    enter(cfg)
    batch = batch_maker(cfg, 2, None, False)()
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, 24, 32), (3, 24, 27)]


def test_without_the_files_the_pipeline_runs_on_made_up_data(cfg, tmp_path):
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    source = SampleSource(cfg, max_items=3)
    (sample,) = source.take(1)
    assert sample['inputs'].shape == (3, 24, 32)
    assert sample['data_samples'].gt_instances.bboxes.shape == (3, 4)
    assert source.note.startswith('made-up data: an image of 32x24 with 3 labels, through the pipeline of the config; ')
    assert 'nowhere' in source.note


def test_a_wrapper_that_mixes_samples_is_followed_to_its_end(cfg, tmp_path):
    *inner, pack = cfg.train_dataloader.dataset.pipeline
    data = dict(cfg.train_dataloader.dataset, data_root=str(tmp_path / 'nowhere'), pipeline=inner)
    cfg.train_dataloader.dataset = dict(type='Mixed', dataset=data, pipeline=[dict(type='SideBySide'), pack])
    (sample,) = SampleSource(cfg).take(1)
    assert sample['inputs'].shape == (3, 24, 64)


def test_where_nothing_can_be_made_up_either_all_reasons_are_said(cfg, tmp_path):
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    cfg.train_dataloader.dataset.pipeline.insert(0, dict(type='NeedsLidar'))
    with pytest.raises(UserError, match=r"Shapes has no example_sample\(\), .*nowhere.*KeyError: 'lidar_points'"):
        SampleSource(cfg).take(1)


def test_a_scan_never_makes_data_up(cfg, tmp_path):
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    with pytest.raises(UserError, match='a scan needs the data'):
        SampleSource(cfg, scan=True).take(1)


# ------------------------------------------------------------------------------------------------- the step
def test_parts_of_a_batch_of_lists_give_the_gradient_of_the_whole(cfg):
    enter(cfg)
    batch = batch_maker(cfg, 4, None, False)()
    assert [len(part['data_samples']) for part in split_batch(batch, 2)] == [2, 2]
    gradients = []
    for size in (None, 2):
        torch.manual_seed(0)
        model = MODELS.build(model_config(cfg)).eval()  # in training statistics of the parts would differ
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
        wrapper.zero_grad = lambda *args, **kwargs: None
        TrainStep(model, wrapper, size)(batch_maker(cfg, 4, None, False)())
        gradients.append([param.grad for param in model.parameters()])
    assert_close(*gradients)


def test_a_model_that_reads_values_while_it_is_built_is_looked_at_all_the_same(cfg):
    assert sum(isinstance(module, torch.nn.Conv2d) for module in model_skeleton(cfg).modules()) == 1


def test_the_preprocessor_of_the_top_level_is_the_models(cfg):
    enter(cfg)
    assert MODELS.build(model_config(cfg)).data_preprocessor.mean.flatten().tolist() == [9.0] * 3


# ------------------------------------------------------------------------------------------------- pictures
def test_samples_are_drawn_by_the_librarys_visualizer(cfg, tmp_path):
    files = browse(cfg, tmp_path / 'pictures', count=2)
    assert [file.name for file in files] == ['train_000000.jpg', 'train_000003.jpg', 'train_sheet.jpg']
    picture = cv2.imread(str(files[1]))
    assert_close(picture[12, 16].astype(int), np.array(BLUE_BGR), rtol=0, atol=12)  # red and blue are not exchanged
    assert_close(picture[0, 16].astype(int), np.full(3, 7), rtol=0, atol=12)


def test_augmented_pictures_are_what_the_librarys_preprocessor_gives(cfg, tmp_path):
    (file, _) = browse(cfg, tmp_path / 'pictures', count=1, augmented=True)
    assert_close(cv2.imread(str(file))[8, 16].astype(int), np.array(BLUE_BGR), rtol=0, atol=12)


def test_without_anybody_who_draws_both_ways_are_named(cfg, tmp_path):
    cfg.visualizer.type = 'Visualizer'
    with pytest.raises(UserError, match=r'Shapes has no method draw.*the visualizer Visualizer draws no samples'):
        browse(cfg, tmp_path)
    cfg.pop('visualizer')
    with pytest.raises(UserError, match='the config names no visualizer'):
        browse(cfg, tmp_path)


# ------------------------------------------------------------------------------------------------- run, test, export
@pytest.fixture(scope='module')
def trained(images, tmp_path_factory, library) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp('run')
    config = write(folder / 'shapes_config.py', library_config(images, folder / 'work'))
    summary = train(load_config(config))
    return config, summary.places['checkpoint'], summary.next_command


def test_a_run_ends_with_pictures_and_the_command_that_tests_it(trained):
    config, checkpoint, command = trained
    assert len(list(Path(checkpoint).parent.glob('pictures/*.jpg'))) == 4
    assert 'test.py' in command
    assert checkpoint in command


def test_a_test_draws_predictions_on_the_files(trained, tmp_path):
    config, checkpoint, _ = trained
    metrics = evaluate(load_config(config), checkpoint, show_dir=str(tmp_path / 'shown'), num_pictures=2)
    assert metrics['shapes/distance'] > 0
    picture = cv2.imread(str(tmp_path / 'shown' / '000003.jpg'))
    assert picture.shape[:2] == (28, 32)  # the file's size, not what the network sees
    assert picture[-1, 16].min() > 240


@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_a_model_is_exported_with_the_facts_of_its_preprocessor(trained, tmp_path, suffix):
    config, checkpoint, _ = trained
    made = export_model(load_config(config), checkpoint, tmp_path / f'model{suffix}')
    assert made.inputs == dict(inputs=(1, 3, 16, 32))
    assert made.deviation < 1e-4


def test_the_doctor_reads_config_data_and_model(cfg):
    checks = examine(cfg)
    assert not [check for check in checks if check.is_fault and check.remedy]
    assert any(check.name == 'loader' for check in checks)


def test_a_trial_measures_a_loader_that_makes_its_batches_itself(trained, tmp_path):
    config, *_ = trained
    text = config.read_text() + "train_dataloader['batch_sampler'] = dict(type='InPairs', drop_last=False)\n"
    own = tmp_path / 'shapes_config.py'
    own.write_text(text)
    result = run_trial(Setting('own', str(own)), TrialPlan(warmup=1, iters=1, val_batches=1), tmp_path / 'work')
    assert result['batch_size'] == 2
    assert result['val_batch_s'] > 0
    assert json.dumps(result)
    assert DefaultScope.get_current_instance().scope_name == 'shapelib'
