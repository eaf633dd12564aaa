import subprocess
import sys

import pytest

import mmopt.apis
from mmopt.apis.config import load_config
from mmopt.utils.lazy import lazy_names


def test_a_name_is_imported_from_its_home_on_first_use():
    assert mmopt.apis.load_config is load_config
    with pytest.raises(AttributeError, match="module 'mmopt.apis' has no attribute 'load_confg'"):
        mmopt.apis.load_confg  # noqa: B018  (an attribute of a module is looked up)


def test_asking_for_the_table_imports_nothing_heavy():
    code = 'import sys, mmopt.apis, mmopt.apis.bench; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'


def test_a_home_that_lacks_its_name_is_an_error_of_that_module():
    with pytest.raises(AttributeError, match="mmopt.utils.errors.*'Absent'"):
        lazy_names('mmopt.utils', dict(Absent='errors'))('Absent')
