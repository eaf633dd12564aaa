"""Every test can be collected where packages of the extras are missing: ``make test-gpu`` needs none of them."""

import ast

from tests.conftest import REPO

OF_EXTRAS = {
    'av', 'bitsandbytes', 'faster_coco_eval', 'h5py', 'mamba_ssm', 'onnx', 'onnxruntime', 'onnxscript', 'pyarrow',
    'pycocotools', 'pynvml', 'shapely',
}  # fmt: skip


def test_no_module_of_tests_imports_a_package_of_an_extra_when_it_is_collected():
    found, num_files = [], 0
    for path in sorted((REPO / 'tests').rglob('*.py')):
        num_files += 1
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found += [
                f'{path.relative_to(REPO)}:{node.lineno}: import {name} inside the function that needs it'
                for name in names
                if name.split('.')[0] in OF_EXTRAS
            ]
    assert num_files > 100
    assert not found, '\n'.join(found)
