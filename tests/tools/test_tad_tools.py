"""From raw files to figures, with the tools that users call."""

import json

import numpy as np
import pytest

from mmopt.datasets.tad.demo.make import make_demo
from mmopt.datasets.tad.motion import fill_gaps
from mmopt.datasets.tad.prepare.caltech import read_caltech
from mmopt.datasets.tad.prepare.deeplabcut import read_deeplabcut
from tests.conftest import REPO, forget_mmengine_globals

CONFIGS = REPO / 'configs'


def test_a_download_is_prepared_and_anchors_are_proposed(tool, tmp_path, capsys):
    root = make_demo(tmp_path / 'mabe', 4, 2, video_s=30.0).out
    tool('datasets/prepare_mabe').main(['--data-root', str(root)])
    assert 'in 2 laboratories: DemoHeron 3, DemoOtter 3' in capsys.readouterr().out
    config = CONFIGS / 'demo' / 'tad_v7_mabe.py'
    tool('fit_anchors').main([str(config), '--num-anchors', '3', '--options', f'data_root={root}'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ['fitted', 'config']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('--pose a.csv', 'needs all of --pose, --annotation, --fps and --pix-per-cm'),
        ('--test-share 0.2', '--min-likelihood and --test-share belong to a session'),
        ('--pose a --annotation b --fps 25 --pix-per-cm 9 --skip-missing', '--skip-missing belongs to a download'),
    ],
)
def test_arguments_that_would_do_nothing_are_refused(tool, capsys, arguments, message):
    with pytest.raises(SystemExit):
        tool('datasets/prepare_mabe').main(arguments.split())
    assert message in capsys.readouterr().err


def frame_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())


def simple_predictors(pose, annotation) -> dict[str, float]:
    """Frame F1 of "social" in the last third: always social, and bodies nearer than the best threshold of the rest."""
    tracks, events = read_deeplabcut(pose), read_caltech(annotation).events
    num_frames = len(tracks.position_TMP2)
    social = np.zeros(num_frames, dtype=bool)
    for start, stop, name in events:
        social[start:stop] = name == 'social'
    bodies = fill_gaps(tracks.position_TMP2[:, :, tracks.body_parts.index('body')], num_frames)
    distance = np.linalg.norm(bodies[:, 0] - bodies[:, 1], axis=-1)
    cut = round(num_frames * 2 / 3)
    candidates = np.nanpercentile(distance[:cut], np.arange(1, 100))
    best = max(candidates, key=lambda threshold: frame_f1(distance[:cut] < threshold, social[:cut]))
    return dict(
        constant=frame_f1(np.ones(num_frames - cut, dtype=bool), social[cut:]),
        distance=frame_f1(distance[cut:] < best, social[cut:]),
    )


@pytest.mark.slow
@pytest.mark.parametrize('model', ['v6', 'v7'])
def test_a_real_session_trains_from_its_raw_files(tool, shared_dir, tmp_path, capsys, model):
    """On the last third, which no setting was chosen by, a model beats the constant predictor."""
    rats = shared_dir / 'data' / 'rats'
    pose, annotation = rats / 'pose_session9.csv', rats / 'intervals_session9.txt'
    facts = ['--pose', str(pose), '--annotation', str(annotation), '--fps', '25', '--pix-per-cm', '10']
    tool('datasets/prepare_mabe').main(['--data-root', str(tmp_path / 'rats'), *facts])
    config, root = str(CONFIGS / 'baseline' / f'tad_{model}_session.py'), f'data_root={tmp_path / "rats"}'
    whole = ['--no-validate', '--options', root, 'data.train.split_file=splits/train_val.txt']
    tool('train').main([config, '--work-dir', str(tmp_path / 'run'), '--seed', '0', *whole])
    forget_mmengine_globals()  # a tool is a process of its own
    (checkpoint,) = (tmp_path / 'run').glob('iter_*.pth')
    out = tmp_path / 'metrics.json'
    test = ['--out', str(out), '--work-dir', str(tmp_path / 'test'), '--options', root]
    tool('test').main([config, str(checkpoint), *test])
    reached = json.loads(out.read_text())['metrics']['frame_F1.social']
    simple = simple_predictors(pose, annotation)
    with capsys.disabled():
        print(f'\nframe F1 of social: {model} {reached:.3f}, {simple}')
    assert reached > simple['constant'] + 0.05
