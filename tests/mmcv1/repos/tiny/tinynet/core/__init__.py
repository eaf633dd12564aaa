from mmcv.runner import HOOKS, OPTIMIZER_BUILDERS, DefaultOptimizerConstructor, Hook, LrUpdaterHook


@HOOKS.register_module()
class NoteHook(Hook):
    """Notes what it sees, for the test."""

    seen = []

    def before_run(self, runner):
        self.seen.append(('run', type(runner.model.module).__name__, runner.max_iters, runner.rank))

    def after_train_iter(self, runner):
        lr = runner.optimizer.param_groups[0]['lr']
        self.seen.append((runner.iter, float(runner.outputs['loss']), lr))
        runner.log_buffer.update(dict(noted=1.0))
        runner.log_buffer.output['third'] = runner._iter / runner._max_iters
        runner.meta.setdefault('hook_msgs', []).append(runner.current_momentum()[0])

    def after_run(self, runner):
        self.seen.append(('end', runner.work_dir, runner.meta['hook_msgs']))


@HOOKS.register_module()
class ZigzagLrUpdaterHook(LrUpdaterHook):
    def get_lr(self, runner, base_lr):
        return base_lr * (1 if runner.iter % 2 else 0.5)


# mmopt has a constructor of this name as well: this one must be found.
@OPTIMIZER_BUILDERS.register_module()
class LayerDecayOptimizerConstructor(DefaultOptimizerConstructor):
    def add_params(self, params, module, prefix='', is_dcn_module=None):
        scale = self.paramwise_cfg['layer_decay_rate']
        for name, param in module.named_parameters():
            if param.requires_grad:
                lr = self.base_lr * (1 if name.startswith('head') else scale)
                params.append(dict(params=[param], lr=lr, param_names=[name]))


@HOOKS.register_module()
class SwitchHook(Hook):
    """Takes the random step out of the pipeline after an epoch, as YOLOX's does; workers have copies of it."""

    def before_train_epoch(self, runner):
        train_loader = runner.data_loader
        if runner.epoch == 1:
            del train_loader.dataset.pipeline[1]
            if train_loader.persistent_workers:
                train_loader._DataLoader__initialized = False
                train_loader._iterator = None
        elif runner.epoch == 2:
            train_loader._DataLoader__initialized = True

    def after_train_iter(self, runner):
        runner.log_buffer.output['mean'] = float(runner.data_batch['img'].mean())
