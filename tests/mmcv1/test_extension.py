"""The module in the place of mmcv's compiled extension: imports of `mmcv.ops` in fresh processes, and its refusals."""

import subprocess
import sys
import textwrap


def run_python(script: str) -> str:
    """Run a script in a process that has imported nothing, and return what it printed."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_of_mmcv_ops_imports_on_our_extension():
    printed = run_python("""
        import importlib, pkgutil
        from mmopt.mmcv1.extension import install_extension
        assert install_extension()
        import mmcv.ops
        from mmcv.utils.ext_loader import check_ops_exist
        for module in pkgutil.iter_modules(mmcv.ops.__path__):
            importlib.import_module(f'mmcv.ops.{module.name}')
        from mmcv import _ext
        print(check_ops_exist(), hasattr(_ext, '__path__'), install_extension())
    """)
    assert printed.split() == ['True', 'False', 'True']


def test_an_op_that_we_lack_is_built_and_refuses_at_the_call():
    printed = run_python("""
        import torch
        from mmopt.mmcv1.extension import install_extension
        install_extension()
        from mmcv.ops import BorderAlign
        module = BorderAlign(pool_size=2)
        try:
            module(torch.rand(1, 4, 2, 2), torch.rand(1, 4, 4))
        except NotImplementedError as error:
            print(error)
    """)
    assert "'border_align_forward'" in printed
    assert 'pip install mmcv' in printed


def test_a_compiled_extension_stays(tmp_path):
    printed = run_python(f"""
        import sys, mmcv
        mmcv.__spec__.submodule_search_locations.append({str(tmp_path)!r})
        open({str(tmp_path / '_ext.py')!r}, 'w').write('nms = "compiled"')
        from mmopt.mmcv1.extension import install_extension
        print(install_extension(), 'mmcv._ext' in sys.modules)
    """)
    assert printed.split() == ['False', 'False']


def test_layers_of_mmcv_ops_train_on_our_extension():
    printed = run_python("""
        import torch
        from mmopt.mmcv1.extension import install_extension
        install_extension()
        from mmcv import ops
        features = torch.rand(1, 4, 8, 8, requires_grad=True)
        rois = torch.tensor([[0, 0.5, 1, 6, 7]])
        for mode in ('avg', 'max'):
            pooled = ops.RoIAlign(2, pool_mode=mode)(features, rois)
            assert pooled.shape == (1, 4, 2, 2)
            pooled.sum().backward()
        assert features.grad.any()
        logits = torch.rand(3, 4, requires_grad=True)
        labels = torch.tensor([0, 3, 4])
        ops.SigmoidFocalLoss(2.0, 0.25)(logits, labels).backward()
        assert logits.grad.all()
        ops.SoftmaxFocalLoss(2.0, 0.25)(logits, labels.clamp(max=3)).backward()
        boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
        config = dict(type='nms', iou_threshold=0.5)
        _, kept = ops.batched_nms(boxes, torch.tensor([0.5, 0.9, 0.1]), torch.zeros(3), config)
        assert kept.tolist() == [1, 2]
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = ops.RoIAlign(2)(features.bfloat16(), rois.bfloat16())
        assert half.dtype == torch.bfloat16
        print('done')
    """)
    assert printed == 'done\n'
