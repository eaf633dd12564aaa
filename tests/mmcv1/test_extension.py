"""The module in the place of mmcv's compiled extension: imports of `mmcv.ops` in fresh processes, and its refusals."""

import subprocess
import sys
import textwrap


def run_python(script: str) -> list[str]:
    """Run a script in a process that has imported nothing, and return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_module_of_mmcv_ops_imports_and_an_op_that_we_lack_refuses_at_the_call():
    installed, found, again, refusal = run_python("""
        import importlib, pkgutil
        from mmopt.mmcv1.extension import install_extension
        print(install_extension())
        import mmcv.ops, torch
        from mmcv.utils.ext_loader import check_ops_exist
        for module in pkgutil.iter_modules(mmcv.ops.__path__):
            importlib.import_module(f'mmcv.ops.{module.name}')
        print(check_ops_exist() and not hasattr(mmcv._ext, '__path__'))
        print(install_extension())
        layer = mmcv.ops.BorderAlign(pool_size=2)
        try:
            layer(torch.rand(1, 4, 2, 2), torch.rand(1, 4, 4))
        except NotImplementedError as error:
            print(error)
    """)
    assert installed == found == again == 'True'
    assert "'border_align_forward'" in refusal
    assert 'pip install mmcv' in refusal


def test_a_compiled_extension_stays(tmp_path):
    (tmp_path / '_ext.py').write_text('nms = "compiled"')
    printed = run_python(f"""
        import sys, mmcv
        mmcv.__path__.append({str(tmp_path)!r})
        from mmopt.mmcv1.extension import install_extension
        print(install_extension(), 'mmcv._ext' in sys.modules)
        import mmcv._ext
        print(install_extension(), mmcv._ext.nms)
    """)
    assert printed == ['False False', 'False compiled']
