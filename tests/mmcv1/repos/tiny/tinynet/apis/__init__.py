from mmcv.runner import RUNNERS, EpochBasedRunner, IterBasedRunner


@RUNNERS.register_module()
class TinyRunner(IterBasedRunner):
    def train(self, data_loader, **kwargs):
        raise NotImplementedError('mmopt drives')


@RUNNERS.register_module()
class TinyEpochRunner(EpochBasedRunner):
    pass
