"""The tests that need a GPU, by name; in the rehearsal a few that need none."""

import subprocess
import sys
from xml.etree import ElementTree

from gpu_suite.child import Step
from gpu_suite.parent import REPO

_FOLDERS = ('tests/engine', 'tests/ops')


def run(step: Step) -> None:
    """Run them."""
    report = step.out / 'pytest.xml'
    chosen = ['tests/engine/loading/test_prefetch.py'] if step.tiny else ['-m', 'gpu', *_FOLDERS]
    # Warnings of this machine's packages are no failures of ours.
    command = [sys.executable, '-m', 'pytest', '-q', *chosen, '-o', 'filterwarnings=default', '-p', 'no:cacheprovider']
    code = subprocess.run([*command, f'--junitxml={report}'], cwd=REPO, stdout=sys.stderr).returncode
    bad = []
    for case in ElementTree.parse(report).iter('testcase'):
        states = [child.tag for child in case if child.tag in ('failure', 'error', 'skipped')]
        state = states[0] if states else 'passed'
        said = next((child.get('message', '') for child in case if child.tag == state), '')
        step.row(test=case.get('name'), state=state, seconds=float(case.get('time', 0)), said=said[:200])
        bad += [case.get('name')] if state in ('failure', 'error') else []
    step.claim('every GPU test passes', bad or 'all passed', not bad and code == 0)
