"""From raw files to figures, with the tools that users call."""

import json

import cv2
import numpy as np
import pytest

from mmopt.datasets.detection import CocoDataset
from mmopt.datasets.detection.demo import make_demo
from mmopt.datasets.detection.demo.scene import Scene, event_frame
from mmopt.evaluation import BoxPrior
from mmopt.utils.errors import DataError, UserError
from tests.conftest import REPO, forget_mmengine_globals

CONFIGS = REPO / 'configs'


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp('demo') / 'fred', 16, 8, (90, 160)).out


def test_the_demo_is_made_from_its_seed_and_left_alone_when_complete(demo, tmp_path):
    again = make_demo(tmp_path / 'fred', 16, 8, (90, 160)).out
    files = sorted(str(path.relative_to(demo)) for path in demo.rglob('*') if path.is_file())
    assert files == sorted(str(path.relative_to(again)) for path in again.rglob('*') if path.is_file())
    images = [name for name in files if name.endswith(('.jpg', '.png'))]
    assert len(images) == 2 * 24 + 1
    assert all((demo / name).read_bytes() == (again / name).read_bytes() for name in images)
    assert make_demo(again, 16, 8, (90, 160)).seconds == 0
    with pytest.raises(DataError, match='holds a demo of other settings'):
        make_demo(again, 24, 8, (90, 160))


def test_events_of_the_demo_show_what_moved_and_boxes_hold_the_drone():
    inside, outside = [], []
    for seed in range(12):
        scene = Scene(np.random.default_rng(seed), (180, 320), 24)
        before, _ = scene.render(11)
        now, boxes = scene.render(12)
        events = (event_frame(before, now, np.random.default_rng(0)) != (30, 37, 52)).any(axis=-1)
        for x1, y1, x2, y2, _ in boxes:
            window = events[max(int(y1), 0) : max(int(y2), 0), max(int(x1), 0) : max(int(x2), 0)]
            if window.size > 20:
                inside.append(window.mean())
                outside.append(events.mean())
    assert len(inside) > 8
    assert np.mean(inside) > 2 * np.mean(outside)


def test_nothing_is_found_in_the_demo_without_looking(tmp_path):
    """As many boxes as in the full demo: the prior finds none, and even one that knew the answers stays below 0.1."""
    root = make_demo(tmp_path / 'fred', 320, 80, (90, 160)).out
    train, val = (CocoDataset(f'annotations/rgb_{split}.json', data_root=str(root)) for split in ('train', 'val'))
    assert BoxPrior()(train, val)['mAP50'] < 0.001
    assert 0.01 < BoxPrior()(val, val)['mAP50'] < 0.1


def test_the_demo_is_prepared_anew_as_fred_is(tool, demo, capsys):
    options = ['--split-file', str(demo / 'splits.json'), '--keep-unlabelled', '--workers', '0', '--force']
    before = (demo / 'annotations' / 'event_train.json').read_text()
    tool('datasets/prepare_fred').main([str(demo), *options])
    text = capsys.readouterr().out
    assert 'event  train 16 images of 2 sequences' in text
    images = json.loads((demo / 'annotations' / 'event_train.json').read_text())['images']
    assert images == json.loads(before)['images']
    assert len(CocoDataset('annotations/fusion_val.json', data_root=str(demo))) == 8


def test_anchors_are_proposed_beside_those_of_the_config(tool, demo, capsys):
    config = str(CONFIGS / 'demo' / 'yolov5_fred_rgb.py')
    tool('fit_anchors').main([config, '--num-anchors', '3', '--options', f'data.data_root={demo}'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ['fitted', 'config']
    assert [line.count('(') for line in lines[1:]] == [3, 9]


@pytest.mark.parametrize('num_boxes', [0, 1, 2])
def test_too_few_boxes_for_the_anchors_are_named_with_the_remedy(tool, tmp_path, num_boxes):
    """One image with no, one, and two boxes; in the end as many anchors as there are boxes."""
    boxes = [dict(id=i, image_id=1, category_id=1, bbox=[5, 5, 20 + i, 10], iscrowd=0) for i in range(num_boxes)]
    image = dict(id=1, file_name='none.jpg', height=96, width=160)
    coco = dict(images=[image], annotations=boxes, categories=[dict(id=1, name='drone')])
    (tmp_path / 'rgb_train.json').write_text(json.dumps(coco))
    config = str(CONFIGS / 'demo' / 'yolov5_fred_rgb.py')
    options = ['--options', f'data.data_root={tmp_path}', 'data.train.ann_file=rgb_train.json']
    match = (
        f'9 anchors need as many .* have {num_boxes}: give --num-anchors {num_boxes}' if num_boxes else 'no event or'
    )
    with pytest.raises(UserError, match=match):
        tool('fit_anchors').main([config, *options])
    if num_boxes:
        tool('fit_anchors').main([config, '--num-anchors', str(num_boxes), *options])


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('start,stop\n', 'no event or box'),
        ('start,stop\n1,5\n7,x\n', 'intervals.csv:3: start and stop must be numbers in order'),
        ('start,stop\n9,5\n', 'intervals.csv:2: start and stop'),
        ('start,stop\n1,5\n3,7\n', '5 anchors need as many different sizes.* give --num-anchors 1 or fewer'),
        ('begin,end\n1,5\n', 'needs the columns start and stop'),
    ],
)
def test_intervals_that_anchors_cannot_be_fitted_to_are_named(tool, tmp_path, text, match):
    path = tmp_path / 'intervals.csv'
    path.write_text(text)
    with pytest.raises(UserError, match=match):
        tool('fit_anchors').main([str(path)])


@pytest.fixture
def tiny(demo) -> list[str]:
    """Options that make the demo config small."""
    return [
        '--options',
        f'data.data_root={demo}',
        'model.backbone.width=0.125',
        'data.samples_per_gpu=8',
        'data.workers_per_gpu=0',
        'runner.max_epochs=2',
        'evaluation.interval=1',
        'expect=None',
    ]


def test_a_run_with_two_phases_trains_draws_and_is_tested(tool, tiny, tmp_path, capsys):
    config = str(CONFIGS / 'demo' / 'yolov5_fred_rgb.py')
    phases = "phases=[{'until_epoch':1,'freeze':['backbone']},{'samples_per_gpu':4}]"
    run = tmp_path / 'run'
    tool('train').main([config, '--work-dir', str(run), *tiny, phases])
    text = capsys.readouterr().out
    assert 'epochs 1 to 1: the same, backbone frozen; epochs 2 to 2: 4 per iteration' in text
    assert 'mAP50' in text
    assert (run / 'iter_6.pth').exists() or (run / 'epoch_2.pth').exists()
    pictures = sorted((run / 'pictures').glob('*.jpg'))
    assert cv2.imread(str(pictures[0])).shape == (384, 640, 3)  # twice the input
    forget_mmengine_globals()
    out = tmp_path / 'metrics.json'
    curves = f'evaluation.metric.out_dir={tmp_path / "curves"}'
    arguments = [config, str(run / 'epoch_2.pth'), '--out', str(out), '--show-dir', str(tmp_path / 'shown')]
    tool('test').main([*arguments, *tiny, curves])
    metrics = json.loads(out.read_text())['metrics']
    assert 0 <= metrics['mAP50'] <= 1
    assert (tmp_path / 'curves' / 'confidence_curve.png').exists()
    assert list((tmp_path / 'shown').glob('*.jpg'))


@pytest.mark.parametrize(('modality', 'width'), [('event', 640), ('fusion', 1280)])
def test_event_frames_and_pairs_are_trained_and_shown(tool, tiny, tmp_path, capsys, modality, width):
    config = str(CONFIGS / 'demo' / f'yolov5_fred_{modality}.py')
    one = next(option for option in tiny if 'width' in option)
    branch = "{'type':'CSPDarknet','depth':0.33,'width':0.125}"
    both = f'model.backbone.backbones=[{branch},{branch}]' if modality == 'fusion' else one
    options = [both if option == one else option for option in tiny]
    run = tmp_path / 'run'
    tool('train').main([config, '--work-dir', str(run), *options, 'runner.max_epochs=1'])
    assert 'mAP50' in capsys.readouterr().out
    # A pair is shown side by side.
    assert cv2.imread(str(min((run / 'pictures').glob('*.jpg')))).shape == (384, width, 3)


def test_without_validation_nothing_is_evaluated(tool, tiny, tmp_path, capsys):
    config = str(CONFIGS / 'demo' / 'yolov5_fred_rgb.py')
    tool('train').main([config, '--work-dir', str(tmp_path / 'run'), '--no-validate', *tiny, 'runner.max_epochs=1'])
    assert 'mAP50' not in capsys.readouterr().out


@pytest.mark.slow
def test_a_detector_of_real_clips_finds_the_drone_in_their_last_third(tool, shared_dir, tmp_path, capsys):
    """mAP50 above 0.3 on frames that were not trained on; false positives per frame of a bird's clip are printed."""
    clips = shared_dir / 'data' / 'drones'
    videos = [str(clips / f'V_DRONE_{number}.mp4') for number in ('007', '009')]
    data = tmp_path / 'clips'
    tool('datasets/prepare_clips').main([*videos, '--out', str(data), '--step', '2'])
    config = str(CONFIGS / 'baseline' / 'yolov5n_clips.py')
    options = ['--options', f'data.data_root={data}']
    tool('train').main([config, '--work-dir', str(tmp_path / 'run'), '--seed', '0', *options])
    forget_mmengine_globals()
    out = tmp_path / 'metrics.json'
    # The last checkpoint, not the best: that one was chosen on the frames that count here.
    checkpoint = str(tmp_path / 'run' / 'epoch_20.pth')
    show = ['--show-dir', str(tmp_path / 'shown')]
    tool('test').main([config, checkpoint, '--out', str(out), '--work-dir', str(tmp_path / 'test'), *show, *options])
    reached = json.loads(out.read_text())['metrics']
    forget_mmengine_globals()
    birds = tmp_path / 'birds'
    bird = [str(clips / 'V_BIRD_029.mp4'), '--out', str(birds), '--train', '0', '0', '--val', '0', '1', '--step', '5']
    tool('datasets/prepare_clips').main(bird)
    # The confidence that was best on the drones, on frames where nothing is to be found.
    options = ['--options', f'data.data_root={birds}', f'evaluation.metric.score_threshold={reached["confidence"]}']
    show = ['--show-dir', str(tmp_path / 'shown_birds')]
    tool('test').main([config, checkpoint, '--out', str(out), '--work-dir', str(tmp_path / 'test'), *show, *options])
    false_positives = json.loads(out.read_text())['metrics']['fp_per_image']
    with capsys.disabled():
        print(
            f'\nreal clips: mAP50 {reached["mAP50"]:.3f}, mAP {reached["mAP"]:.3f}, recall {reached["recall"]:.3f}, '
            f'{reached["fp_per_image"]:.3f} false positives per frame at confidence {reached["confidence"]:.2f};'
        )
        print(f'{false_positives:.2f} false positives per frame of the bird')
    assert reached['mAP50'] > 0.3
