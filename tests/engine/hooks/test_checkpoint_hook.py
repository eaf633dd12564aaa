import logging
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmopt.engine import checkpoint_io
from mmopt.engine.hooks import CheckpointHook
from mmopt.engine.hooks import checkpoint_hook as module
from mmopt.engine.hooks.best_rule import infer_rule
from mmopt.engine.logging.time_split import TimeSplit
from mmopt.registry import HOOKS
from mmopt.utils.errors import UserError


class FakeRunner:
    """Counts as MMEngine's runner does: inside ``after_train_iter`` the running iteration is not yet counted."""

    def __init__(self, work_dir: Path, hook: CheckpointHook, max_iters: int = 10, epoch_length: int = 5) -> None:
        self.work_dir = str(work_dir)
        self.hook = hook
        self.iter = self.epoch = 0
        self.max_iters, self.epoch_length = max_iters, epoch_length
        self.max_epochs = max_iters // epoch_length
        self.train_loop = SimpleNamespace(stop_training=False)
        self.time_split = TimeSplit()
        self.message_hub = MessageHub.get_instance(f'hub{id(self)}')
        self.logger = logging.getLogger('checkpoint_hook')
        self.num_saved = 0

    def save_checkpoint(self, path: Path) -> None:
        self.num_saved += 1
        hub = checkpoint_io.message_hub_state(self.message_hub)
        meta = dict(iter=self.iter, mmopt_version='0')
        state = dict(meta=meta, state_dict=dict(a=torch.ones(1)), message_hub=hub, optimizer=dict(state={}))
        self.hook.before_save_checkpoint(self, state)
        checkpoint_io.save(path, state)

    def resume(self, path: Path, iters_done: int) -> None:
        self.iter = iters_done
        checkpoint_io.restore_message_hub(self.message_hub, checkpoint_io.load(path)['message_hub'])

    def train(self, scores: dict[int, dict] | None = None, stop: int | None = None) -> list[str]:
        """Train, evaluate where ``scores`` has an entry (per iteration), and return the names in the work dir."""
        scores = scores or {}
        self.hook.before_train(self)
        while self.iter < (stop or self.max_iters):
            self.hook.after_train_iter(self, batch_idx=self.iter, data_batch=None, outputs=None)
            self.iter += 1
            if self.iter % self.epoch_length == 0:
                self.hook.after_train_epoch(self)
                self.epoch += 1
            if self.iter in scores:
                self.hook.after_val_epoch(self, metrics=scores[self.iter])
        return names(self.work_dir)


def names(work_dir: str | Path) -> list[str]:
    return sorted(os.listdir(work_dir))


def best_score(path: Path) -> float:
    return checkpoint_io.load(path)['message_hub']['runtime_info']['best_checkpoints']['mIoU']['score']


def miou(**scores: float) -> dict[int, dict]:
    """``miou(at4=0.5)``: the mIoU after 4 iterations is 0.5."""
    return {int(key[2:]): dict(aAcc=1.0, mIoU=value) for key, value in scores.items()}


# ---------------------------------------------------------------- points and names
def test_saves_every_interval_and_at_the_end(tmp_path):
    files = FakeRunner(tmp_path, CheckpointHook(interval=4, by_epoch=False)).train()
    assert files == ['iter_10.pth', 'iter_4.pth', 'iter_8.pth', 'last_checkpoint']
    assert checkpoint_io.find_latest(tmp_path) == tmp_path / 'iter_10.pth'


def test_save_last_can_be_off(tmp_path):
    files = FakeRunner(tmp_path, CheckpointHook(interval=4, by_epoch=False, save_last=False)).train()
    assert files == ['iter_4.pth', 'iter_8.pth', 'last_checkpoint']


def test_an_interval_below_one_saves_only_the_end(tmp_path):
    assert FakeRunner(tmp_path, CheckpointHook(by_epoch=False)).train() == ['iter_10.pth', 'last_checkpoint']


def test_epochs_count_in_an_epoch_based_run(tmp_path):
    files = FakeRunner(tmp_path, CheckpointHook(interval=1, by_epoch=True)).train()
    assert files == ['epoch_1.pth', 'epoch_2.pth', 'last_checkpoint']


def mmcv_keeps(interval: int, max_keep: int, max_iters: int) -> set[int]:
    """mmcv 1.7.2's CheckpointHook in its own words, on a set of numbers instead of a folder."""
    kept: set[int] = set()
    for current in range(1, max_iters + 1):
        if current % interval and current != max_iters:
            continue
        kept.add(current)
        for step in range(current - max_keep * interval, 0, -interval):
            if step not in kept:
                break
            kept.remove(step)
    return kept


@pytest.mark.parametrize(
    ('interval', 'max_keep', 'max_iters'), [(2, 1, 10), (2, 3, 10), (3, 1, 10), (4, 2, 23), (1, 2, 5)]
)
def test_keeps_as_many_as_mmcv(tmp_path, interval, max_keep, max_iters):
    hook = CheckpointHook(interval=interval, by_epoch=False, max_keep_ckpts=max_keep)
    files = FakeRunner(tmp_path, hook, max_iters=max_iters).train()
    assert set(files) - {'last_checkpoint'} == {f'iter_{n}.pth' for n in mmcv_keeps(interval, max_keep, max_iters)}


def test_the_pointer_never_names_a_deleted_file(tmp_path, monkeypatch):
    hook = CheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=1)
    unlink = Path.unlink

    def check(self, missing_ok=False):
        assert checkpoint_io.read_pointer(tmp_path) != self
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, 'unlink', check)
    assert FakeRunner(tmp_path, hook).train() == ['iter_10.pth', 'last_checkpoint']


def test_is_what_a_config_of_scope_mmopt_builds():
    hook = HOOKS.build(
        dict(
            type='CheckpointHook',
            interval=5,
            by_epoch=False,
            max_keep_ckpts=2,
            save_last=True,
            save_best=None,
            rule=None,
        )
    )
    assert type(hook) is CheckpointHook
    assert hook.priority == 'VERY_LOW'


def test_another_folder_and_name_can_be_given(tmp_path):
    options = dict(out_dir=str(tmp_path / 'out'), filename_tmpl='step{}.pth', max_keep_ckpts=1, save_best='mIoU')
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    assert FakeRunner(work_dir, CheckpointHook(5, by_epoch=False, **options)).train(miou(at5=0.5)) == [
        'last_checkpoint'
    ]
    assert names(tmp_path / 'out' / 'run') == ['best_mIoU.pth', 'best_mIoU_iter_5.pth', 'step10.pth']
    assert checkpoint_io.find_latest(work_dir) == tmp_path / 'out' / 'run' / 'step10.pth'


def test_without_the_optimizer_only_the_best_can_be_resumed(tmp_path):
    hook = CheckpointHook(5, by_epoch=False, save_optimizer=False, save_best='mIoU')
    FakeRunner(tmp_path, hook).train(miou(at5=0.5))
    assert checkpoint_io.load(tmp_path / 'iter_5.pth')['optimizer'] is None
    assert checkpoint_io.load(tmp_path / 'best_mIoU.pth')['optimizer'] == dict(state={})


# ---------------------------------------------------------------- the best
def test_the_best_has_mmcvs_name_and_a_stable_one(tmp_path):
    hook = CheckpointHook(interval=4, by_epoch=False, save_best='mIoU')
    files = FakeRunner(tmp_path, hook).train(miou(at2=0.1, at4=0.5, at6=0.3))
    assert [name for name in files if name.startswith('best')] == ['best_mIoU.pth', 'best_mIoU_iter_4.pth']
    assert (tmp_path / 'best_mIoU.pth').samefile(tmp_path / 'best_mIoU_iter_4.pth')
    assert checkpoint_io.load(tmp_path / 'best_mIoU.pth')['iter'] == 4


def test_the_best_of_an_epoch_based_run_counts_epochs(tmp_path):
    files = FakeRunner(tmp_path, CheckpointHook(interval=1, save_best='mIoU')).train(miou(at5=0.1, at10=0.2))
    assert 'best_mIoU_epoch_2.pth' in files


def test_the_evaluation_after_the_last_iteration_counts(tmp_path):
    hook = CheckpointHook(interval=100, by_epoch=False, save_best='mIoU')
    assert FakeRunner(tmp_path, hook).train(miou(at10=0.5)) == [
        'best_mIoU.pth', 'best_mIoU_iter_10.pth', 'iter_10.pth', 'last_checkpoint',
    ]  # fmt: skip


@pytest.mark.parametrize('zero', [0.0, 0, np.float32(0), torch.tensor(0.0)])
def test_a_best_score_of_zero_counts(tmp_path, zero):
    hook = CheckpointHook(by_epoch=False, save_best='loss', rule='less')
    files = FakeRunner(tmp_path, hook).train({2: dict(loss=zero), 4: dict(loss=0.5), 6: dict(loss=0.0)})
    assert 'best_loss_iter_2.pth' in files


@pytest.mark.parametrize('rule', ['greater', 'less'])
def test_nan_and_infinity_never_win(tmp_path, rule):
    hook = CheckpointHook(by_epoch=False, save_best='x', rule=rule)
    scores = {2: dict(x=float('nan')), 3: dict(x=0.5), 4: dict(x=float('nan')), 5: dict(x=np.inf), 6: dict(x=-np.inf)}
    files = FakeRunner(tmp_path, hook).train(scores)
    assert [name for name in files if name.startswith('best')] == ['best_x.pth', 'best_x_iter_3.pth']


def test_several_metrics_have_a_best_each(tmp_path):
    hook = CheckpointHook(by_epoch=False, save_best=['mIoU', 'val/loss'], rule=['greater', 'less'])
    scores = {2: {'mIoU': 0.5, 'val/loss': 3.0}, 4: {'mIoU': 0.4, 'val/loss': 2.0}}
    files = FakeRunner(tmp_path, hook).train(scores)
    assert [name for name in files if name.startswith('best')] == [
        'best_mIoU.pth', 'best_mIoU_iter_2.pth', 'best_val_loss.pth', 'best_val_loss_iter_4.pth',
    ]  # fmt: skip


def test_auto_takes_the_first_metric_of_the_first_evaluation(tmp_path):
    hook = CheckpointHook(by_epoch=False, save_best='auto')
    files = FakeRunner(tmp_path, hook).train({2: {'bev/mIoU': 0.5, 'aAcc': 0.1}, 4: {'aAcc': 0.9, 'bev/mIoU': 0.4}})
    assert 'best_mIoU_iter_2.pth' in files


def test_a_metric_is_found_behind_mmengines_prefix(tmp_path):
    hook = CheckpointHook(by_epoch=False, save_best='bbox_mAP')
    assert 'best_bbox_mAP.pth' in FakeRunner(tmp_path, hook).train({2: {'coco/bbox_mAP': 0.5}})


@pytest.mark.parametrize(
    ('metric', 'rule'),
    [('mIoU', 'greater'), ('mAcc', 'greater'), ('bbox_mAP_50', 'greater'), ('top1_acc', 'greater'),
     ('AR@100', 'greater'), ('loss', 'less'), ('val_loss', 'less'), ('F1', 'greater')],
)  # fmt: skip
def test_the_rule_follows_from_the_name(metric, rule):
    assert infer_rule(metric) == rule


def test_evaluating_without_training_saves_nothing(tmp_path):
    hook = CheckpointHook(by_epoch=False, save_best='mIoU')
    hook.after_val_epoch(FakeRunner(tmp_path, hook), metrics=dict(mIoU=0.5))
    assert names(tmp_path) == []


def test_an_evaluation_without_metrics_is_logged(tmp_path, caplog):
    FakeRunner(tmp_path, CheckpointHook(by_epoch=False, save_best='mIoU')).train({2: {}})
    assert 'no best checkpoint this time' in caplog.text


# ---------------------------------------------------------------- resume
def test_the_best_survives_a_resume(tmp_path):
    def hook() -> CheckpointHook:
        return CheckpointHook(interval=4, by_epoch=False, save_best='mIoU')

    FakeRunner(tmp_path, hook()).train(miou(at4=0.5), stop=6)
    resumed = FakeRunner(tmp_path, hook())
    resumed.resume(tmp_path / 'iter_4.pth', 4)
    files = resumed.train(miou(at6=0.4, at8=0.6))
    assert [name for name in files if name.startswith('best')] == ['best_mIoU.pth', 'best_mIoU_iter_8.pth']
    assert best_score(tmp_path / 'best_mIoU.pth') == best_score(tmp_path / 'iter_10.pth') == 0.6


def test_a_checkpoint_made_just_before_the_evaluation_learns_of_its_best(tmp_path):
    runner = FakeRunner(tmp_path, CheckpointHook(interval=4, by_epoch=False, save_best='mIoU'))
    runner.train(miou(at4=0.5), stop=4)
    assert best_score(tmp_path / 'iter_4.pth') == 0.5
    assert (tmp_path / 'iter_4.pth').samefile(tmp_path / 'best_mIoU.pth')
    assert runner.num_saved == 2


def test_deleting_an_old_checkpoint_leaves_the_best(tmp_path):
    hook = CheckpointHook(interval=2, by_epoch=False, save_best='mIoU', max_keep_ckpts=1)
    files = FakeRunner(tmp_path, hook).train(miou(at4=0.5))
    assert files == ['best_mIoU.pth', 'best_mIoU_iter_4.pth', 'iter_10.pth', 'last_checkpoint']
    assert best_score(tmp_path / 'best_mIoU.pth') == 0.5


def test_in_another_folder_the_best_starts_anew(tmp_path, caplog):
    FakeRunner(tmp_path / 'old', CheckpointHook(4, by_epoch=False, save_best='mIoU')).train(miou(at4=0.5), stop=4)
    (tmp_path / 'new').mkdir()
    resumed = FakeRunner(tmp_path / 'new', CheckpointHook(4, by_epoch=False, save_best='mIoU'))
    resumed.resume(tmp_path / 'old' / 'iter_4.pth', 4)
    files = resumed.train(miou(at8=0.3))
    assert 'best_mIoU.pth' in files
    assert 'best_mIoU_iter_4.pth' in names(tmp_path / 'old')
    assert 'the best of this folder starts anew' in caplog.text


def test_left_overs_of_a_killed_run_are_removed_at_the_start(tmp_path):
    (tmp_path / '.iter_4.pth.1.tmp').write_bytes(b'half')
    assert FakeRunner(tmp_path, CheckpointHook(by_epoch=False)).train() == ['iter_10.pth', 'last_checkpoint']


def test_all_ranks_gather_and_only_rank_0_touches_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    hook = CheckpointHook(interval=5, by_epoch=False, save_best='mIoU', max_keep_ckpts=1)
    runner = FakeRunner(tmp_path, hook)
    runner.save_checkpoint = lambda path: setattr(runner, 'num_saved', runner.num_saved + 1)
    assert runner.train(miou(at5=0.5)) == []
    assert runner.num_saved == 3


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ('options', 'kind', 'text'),
    [
        (
            dict(save_best='x'),
            ValueError,
            r"save_best='x': cannot tell whether more or less is better; say evaluation.rule=",
        ),
        (dict(save_best=True), AssertionError, r"must be a metric's name, a list of them, 'auto' or None, got True"),
        (dict(save_best='mIoU', rule='more'), KeyError, r"rule must be 'greater' or 'less', got 'more'"),
        (dict(filename_tmpl='last.pth'), UserError, r"filename_tmpl needs one '{}' for the number, got 'last.pth'"),
        (
            dict(save_best=['a', 'b', 'c'], rule=['less', 'less']),
            AssertionError,
            'rule has 2 entries for the 3 metrics',
        ),
    ],
)
def test_wrong_options_name_themselves_by_errors_of_mmengines_kinds(options, kind, text):
    with pytest.raises(UserError, match=text) as caught:
        CheckpointHook(**options)
    assert isinstance(caught.value, kind)


def test_a_metric_that_is_not_there_names_those_that_are(tmp_path):
    runner = FakeRunner(tmp_path, CheckpointHook(by_epoch=False, save_best='mIou', rule='greater'))
    with pytest.raises(UserError, match="save_best='mIou' is not among the metrics of this evaluation: aAcc, mIoU"):
        runner.train(miou(at2=0.5))


def test_a_metric_that_is_no_number_is_named(tmp_path):
    runner = FakeRunner(tmp_path, CheckpointHook(by_epoch=False, save_best='mIoU'))
    with pytest.raises(UserError, match=r'its value is no single number but \[0.5\]'):
        runner.train({2: dict(mIoU=[0.5])})


# ---------------------------------------------------------------- in the background
def test_writing_in_the_background_leaves_the_same_files(tmp_path):
    options = dict(interval=2, by_epoch=False, save_best='mIoU', max_keep_ckpts=2)
    scores = miou(at2=0.1, at4=0.5, at6=0.3, at10=0.6)
    files = []
    for background in (False, True):
        hook = CheckpointHook(**options, background=background)
        runner = FakeRunner(tmp_path / str(background), hook)
        Path(runner.work_dir).mkdir()
        runner.train(scores)
        hook.after_train(runner)
        files.append(names(runner.work_dir))
    assert files[0] == files[1]
    assert best_score(tmp_path / 'True' / 'best_mIoU.pth') == 0.6


def test_an_error_in_the_background_stops_the_training(tmp_path, monkeypatch):
    def fail(*_args):
        raise checkpoint_io.CheckpointWriteError('no space')

    monkeypatch.setattr(checkpoint_io, 'write_pointer', fail)
    runner = FakeRunner(tmp_path, CheckpointHook(interval=2, by_epoch=False, background=True))
    with pytest.raises(checkpoint_io.CheckpointWriteError, match='no space'):
        runner.train()


# ---------------------------------------------------------------- units
def test_the_best_of_an_epoch_based_run_counts_epochs_also_where_checkpoints_count_iterations(tmp_path):
    hook = CheckpointHook(interval=2, by_epoch=False, save_best='mIoU')
    runner = FakeRunner(tmp_path, hook)
    runner.train_loop.unit = 'epoch'
    files = runner.train(miou(at5=0.1, at10=0.2))
    assert 'best_mIoU_epoch_2.pth' in files
    # Iteration 2 and epoch 2 are not the same moment, iteration 10 and epoch 2 are.
    assert (tmp_path / 'iter_10.pth').samefile(tmp_path / 'best_mIoU.pth')
    assert not (tmp_path / 'iter_2.pth').samefile(tmp_path / 'best_mIoU.pth')
