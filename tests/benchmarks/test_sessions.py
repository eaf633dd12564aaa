"""The recipe of a session: configs that beat every prediction that does not look at the tracks."""

import json
import re

import pytest
from mmengine.registry import init_default_scope

from mmopt.apis.config import load_config
from mmopt.evaluation.baselines.tad import RandomIntervals, always_the_action
from mmopt.registry import DATASETS
from tests.benchmarks.sessions import SESSIONS, MadeSession, make_session
from tests.conftest import forget_mmengine_globals, load_script

MIN_INTERVALS = 5


def prepare(session: MadeSession, out) -> None:
    facts = ['--fps', f'{session.fps:g}', '--pix-per-cm', f'{session.pixels_per_cm:g}']
    load_script('tools/datasets/prepare_session.py').main(
        [str(session.pose), str(session.annotation), '--out', str(out), *facts]
    )


@pytest.fixture(scope='module', params=sorted(SESSIONS))
def made(request, tmp_path_factory):
    """Return the config of a made session, what the tool said, and the session."""
    folder = tmp_path_factory.mktemp(request.param)
    session = make_session(request.param, folder / 'raw', num_frames=3000)
    prepare(session, folder / 'data')
    return session, folder / 'data'


def test_the_configs_of_a_session_load_and_name_its_classes_and_channels_once(made):
    session, root = made
    for name in ('tad_v7.py', 'tad_v6.py'):
        cfg = load_config(root / name)
        init_default_scope('mmopt')
        assert cfg.model.num_classes == len(session.num_intervals)
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        assert sorted(dataset.metainfo['classes']) == sorted(session.num_intervals)
        sample = dataset[0]
        window = cfg.train_dataloader.dataset.window
        assert sample['inputs']['features'].shape == (window, cfg.model.encoder.in_channels)
        assert dataset.videos[0].fps == session.fps
        forget_mmengine_globals()


def test_another_number_of_classes_is_set_in_one_place(made):
    _, root = made
    text = (root / 'tad_v7.py').read_text()
    assert text.count('num_classes = len(classes)') == 1
    assert re.search(r'num_classes=\d', text + (root / 'tad_v6.py').read_text()) is None


def test_always_the_action_has_the_f1_of_its_share(made):
    _, root = made
    cfg = load_config(root / 'tad_v7.py')
    init_default_scope('mmopt')
    train, test = (DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'test'))
    constant = always_the_action(train, test)
    (events,), num_frames = test.events, test.get_data_info(0)['num_frames']
    for number, name in enumerate(test.metainfo['classes']):
        share = sum(stop - start for start, stop, *_, action in events.tolist() if action == number) / num_frames
        if share:
            assert constant[f'frame_F1.{name}'] == pytest.approx(2 * share / (1 + share))
    drawn = RandomIntervals()(train, test)
    # Chance is worse than knowing that it always happens.
    assert all(drawn[key] < value for key, value in constant.items())


def real_session(shared_dir) -> MadeSession:
    folder = shared_dir / 'data' / 'rats'
    return MadeSession(
        folder / 'pose_session9.csv',
        folder / 'intervals_session9.txt',
        25.0,
        10.0,
        dict(social=14, nonsocial=15, base=2),
    )


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['rats', *sorted(SESSIONS)])
def test_v7_and_v6_of_the_recipe_beat_both_input_blind_baselines(kind, tmp_path, monkeypatch, request, capsys):
    """On the last third of a session, which nothing was chosen by, for every behavior of five intervals or more."""
    monkeypatch.chdir(tmp_path)
    session = (
        real_session(request.getfixturevalue('shared_dir')) if kind == 'rats' else make_session(kind, tmp_path / 'raw')
    )
    root = tmp_path / 'data'
    prepare(session, root)
    reached = {}
    for model in ('v7', 'v6'):
        config, run = str(root / f'tad_{model}.py'), tmp_path / model
        both = ['--no-validate', '--seed', '0', '--options', 'data.train.split_file=splits/train_val.txt']
        load_script('tools/train.py').main([config, '--work-dir', str(run), *both])
        forget_mmengine_globals()  # a tool is a process of its own
        (checkpoint,) = run.glob('iter_*.pth')
        out = tmp_path / f'{model}.json'
        load_script('tools/test.py').main([config, str(checkpoint), '--out', str(out), '--work-dir', f'{run}_test'])
        forget_mmengine_globals()
        reached[model] = json.loads(out.read_text())['metrics']
    cfg = load_config(root / 'tad_v7.py', options=['data.train.split_file=splits/train_val.txt'])
    init_default_scope('mmopt')
    train, test = (DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'test'))
    constant, drawn = always_the_action(train, test), RandomIntervals()(train, test)
    with capsys.disabled():
        print(f'\n| {kind} | V7 | V6 | always it | random intervals |\n|---|---|---|---|---|')
        for key, value in constant.items():
            if key.startswith('frame_F1.'):
                scores = (reached['v7'][key], reached['v6'][key], value, drawn[key])
                print(f'| {key.removeprefix("frame_F1.")} | {" | ".join(f"{score:.3f}" for score in scores)} |')
        singles = {name: [f'{reached[m][name]:.3f}' for m in ('v7', 'v6')] for name in ('F1', 'F1_exclusive')}
        print(singles, f'random {drawn["F1"]:.3f}')
    for name, count in session.num_intervals.items():
        if count < MIN_INTERVALS or f'frame_F1.{name}' not in constant:
            continue
        for key in (f'frame_F1.{name}', f'frame_F1_overlapping.{name}'):
            bound = max(constant[key], drawn[key])
            assert reached['v7'][key] > bound, f'V7: {key}'
            assert reached['v6'][key] > bound, f'V6: {key}'
