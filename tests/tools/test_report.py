"""The report of a run: one file that needs nothing else, and several runs side by side."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.apis.report.page import render_report
from mmopt.apis.report.run import read_reported_run
from mmopt.utils.errors import UserError

VOID = {'meta', 'link', 'img', 'br', 'path', 'use', 'input'}


class Page(HTMLParser):
    """Notes elements, addresses and texts of a page, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given['id']] if 'id' in given else []
        self.addresses += [value for key, value in attrs if key in ('src', 'href', 'xlink:href') and value]
        if tag == 'img':
            self.images.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('style', 'script'):
            self.texts.append(' '.join(data.split()))

    @property
    def text(self) -> str:
        return ' '.join(filter(None, self.texts))


@pytest.fixture(scope='module')
def work_dirs(tmp_path_factory) -> Path:
    """Two runs as they are on disk: ``a`` is done, ``b`` is going on and was trained with another rate."""
    root = tmp_path_factory.mktemp('runs')
    for name, lr in (('a', 0.1), ('b', 0.2)):
        folder = root / name
        (folder / '20260101' / 'vis_data').mkdir(parents=True)
        lines = []
        for step in range(1, 9):
            lines.append(dict(iter=step, step=step, lr=lr, loss=2 / step, accuracy=step / 20, time=0.5, data_time=0.1))
            if step % 4 == 0:
                lines.append(dict(step=step, precision=0.9, accuracy=step / 10 - lr))
        (folder / '20260101' / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
        parts = dict(compute=6.0, data=3.0, copy=0.0, evaluation=1.0, checkpoints=0.0, hooks=0.0)
        noted = dict(seconds=parts, first_iter=0, last_iter=8, num_evaluations=2, settings={})
        (folder / '20260101' / 'time_split.json').write_text(json.dumps(noted))
        (folder / 'config.py').write_text(
            f'model = dict(type="A<b>")\noptimizer = dict(lr={lr})\nwork_dir = "{name}"\n'
        )
        (folder / 'pictures').mkdir()
        for number in range(8):
            cv2.imwrite(str(folder / 'pictures' / f'{number}.jpg'), np.full((300, 1200, 3), 30 * number, np.uint8))
        log = '2026/01/01 00:00:00 - mmengine - WARNING - The card is full.\n'
        (folder / 'latest.log').write_text(log * 3 + '2026/01/01 00:00:00 - mmengine - INFO - fine\n')
    summary = dict(
        main_metric='accuracy',
        wall_s=75.0,
        seconds_per_iter=0.5,
        peak_memory=['process, resident', 1.25],
        next_command='mmopt test a best.pth',
        resume_command='mmopt train a --auto-resume',
        changes={'optimizer.lr': ['0.01', '0.1']},
        environment=dict(cpu='A fast one', torch='2.13'),
        expectations=[dict(metric='accuracy', value=0.7, bound=0.9, source='baseline')],
        config='nowhere.py',
    )
    (root / 'a' / 'summary.json').write_text(json.dumps(summary))
    (root / 'b' / 'best_accuracy.pth').write_text('')
    return root


@pytest.fixture(scope='module')
def page(work_dirs) -> Page:
    return Page(render_report([read_reported_run(work_dirs / 'a')]))


def test_a_page_needs_nothing_but_itself(page):
    assert all(address.startswith(('data:', '#')) for address in page.addresses)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize(
    'text',
    [
        'best accuracy 0.7 at iteration 8',
        'iterations 8 duration 1 min 15 s per iteration 0.5 s peak memory 1.25 GiB',
        'expected more than 0.9 (baseline): FAILED',
        'compute 60.0 % (6 s)',
        'mmopt test a best.pth',
        'mmopt train a --auto-resume',
        '1 warning The card is full.',
        'optimizer.lr 0.01 0.1',
        'A fast one',
        'A<b>',
    ],
)
def test_a_page_says_what_a_run_came_to(page, text):
    assert text in page.text


def test_pictures_are_in_the_page_no_wider_than_it_shows_them(page):
    assert len(page.images) == 6
    assert all(image['src'].startswith('data:image/jpeg;base64,') and image['alt'] for image in page.images)


def test_the_metric_that_chooses_the_best_is_drawn_with_training_and_validation(work_dirs):
    text = render_report([read_reported_run(work_dirs / 'a')])
    captions = re.findall(r'id="curve-\d" aria-label="(.*?)"', text)
    assert captions[:3] == ['loss', 'learning rate', 'accuracy']
    panel = text[text.index('id="curve-3"') : text.index('id="curve-4"')]
    assert '>training<' in panel
    assert '>validation<' in panel
    assert '>0.7<' in panel  # the best one


def test_runs_are_compared_side_by_side(work_dirs):
    text = render_report([read_reported_run(work_dirs / name) for name in 'ab'])
    page = Page(text)
    assert '(going on, or stopped before its end)' not in page.text
    assert 'optimizer.lr 0.1 0.2' in page.text
    assert 'work_dir' not in page.text.partition('Differences')[2].partition('Runs')[0]
    assert re.search(r'run best accuracy .* a 0.7 8 .* b 0.6 8 ', page.text)
    assert len(page.ids) == len(set(page.ids))


def test_a_run_without_a_summary_is_one_that_goes_on(work_dirs):
    run = read_reported_run(work_dirs / 'b')
    assert run.log.main == 'accuracy'  # by the name of the best checkpoint
    assert 'going on' in Page(render_report([run])).text


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(UserError, match='give the work dir of a run that has logged'):
        read_reported_run(tmp_path)


def test_every_run_writes_its_report_and_names_it(tool, write_config, capsys):
    path = write_config()
    assert tool('train').main([str(path), '--work-dir', 'run', '--options', 'optim_wrapper.optimizer.lr=0.05']) == 0
    assert 'report' in capsys.readouterr().out
    page = Page(Path('run/report.html').read_text())
    assert 'optim_wrapper.optimizer.lr' in page.text
    assert '--auto-resume' in page.text
    tool('report').main(['run', 'run', '--out', 'two.html'])
    assert Page(Path('two.html').read_text()).texts
    tool('report').main(['run'])
    assert 'report: run/report.html' in capsys.readouterr().out


PROBE = """<script>
const faults = [];
addEventListener('error', event => faults.push(String(event.message || event.target.src)), true);
addEventListener('load', () => {
  const curves = document.querySelectorAll('svg').length;
  document.body.dataset.seen = [document.documentElement.scrollWidth, innerWidth, faults.length, curves].join(' ');
});
</script>"""
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')


@pytest.mark.slow
@pytest.mark.parametrize('width', [1280, 500, 390])
@pytest.mark.parametrize('names', ['a', 'ab'])
def test_a_browser_shows_the_page_without_a_fault_and_without_scrolling_sideways(work_dirs, tmp_path, width, names):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip('no Chromium is installed')
    text = render_report([read_reported_run(work_dirs / name) for name in names])
    page, frame = tmp_path / 'page.html', tmp_path / 'frame.html'
    page.write_text(text.replace('<head>', f'<head>{PROBE}', 1))
    # A window of Chromium is at least 500 wide; a frame is as wide as it is told.
    frame.write_text(
        f'<iframe id="f" src="page.html" style="width:{width}px;height:2000px;border:0"></iframe><script>'
        "onload = () => document.body.setAttribute('data-seen', f.contentDocument.body.dataset.seen)</script>"
    )
    command = [browser, '--headless', '--no-sandbox', '--disable-gpu', '--allow-file-access-from-files', '--dump-dom']
    done = subprocess.run([*command, f'file://{frame}'], capture_output=True, text=True, timeout=120)
    scrolled, shown, num_faults, num_curves = map(int, re.search(r'data-seen="([\d ]+)"', done.stdout)[1].split())
    assert shown == width
    assert scrolled <= width
    assert num_faults == 0
    assert num_curves == 4
