from mmcv.cnn import MODELS as MMCV_MODELS
from mmcv.cnn import PLUGIN_LAYERS, ConvModule, constant_init
from mmcv.onnx import register_extra_symbolics  # noqa: F401  # nothing stands for it; nobody uses it
from mmcv.runner import BaseModule, OptimizerHook, auto_fp16, force_fp32
from mmcv.runner.hooks import HOOKS
from mmcv.utils import Registry
from torch import nn

MODELS = Registry('models', parent=MMCV_MODELS)
SEGMENTORS = MODELS


@PLUGIN_LAYERS.register_module()
class TinyPlugin(nn.Identity):
    _abbr_ = 'tiny_plugin'


# mmopt has a class of this name as well: this one must be found.
@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    def forward(self, logits, target):
        return nn.functional.cross_entropy(logits, target, ignore_index=255)


@MODELS.register_module()
class TinyBackbone(BaseModule):
    def __init__(self, channels, norm_cfg=None, drop=0.1, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = ConvModule(3, channels, 3, padding=1, norm_cfg=norm_cfg)
        self.drop = nn.Dropout(drop)

    def init_weights(self):
        super().init_weights()
        constant_init(self.conv.norm, 1)

    def forward(self, img):
        return self.drop(self.conv(img))


@MODELS.register_module()
class TinySegmentor(BaseModule):
    dtypes = [None, None]  # of the images and of the logits in the losses

    def __init__(self, backbone, loss, num_classes, train_cfg=None, test_cfg=None, init_cfg=None):
        super().__init__(init_cfg)
        self.fp16_enabled = False
        self.backbone = MODELS.build(backbone)
        self.head = nn.Conv2d(backbone['channels'], num_classes, 1)
        self.criterion = MODELS.build(loss)
        self.test_cfg = test_cfg

    @auto_fp16(apply_to=('img',))
    def forward(self, img, img_metas, return_loss=True, **kwargs):
        if return_loss:
            return self.forward_train(img, img_metas, **kwargs)
        return self.simple_test(img[0], img_metas[0], **kwargs)

    def forward_train(self, img, img_metas, gt):
        TinySegmentor.dtypes[0] = img.dtype
        assert len(img_metas) == len(img)
        return self.losses(self.head(self.backbone(img)), gt)

    @force_fp32(apply_to=('logits',))
    def losses(self, logits, gt):
        TinySegmentor.dtypes[1] = logits.dtype
        return dict(
            loss_ce=self.criterion(logits, gt.squeeze(1)),
            acc=(logits.argmax(1) == gt.squeeze(1)).float().mean(),
            share=float(gt.float().mean()),  # a plain number, as pose estimators return their accuracy
        )

    def simple_test(self, img, img_metas, rescale=False):
        assert rescale
        return list(self.head(self.backbone(img)).argmax(1).cpu().numpy())

    def train_step(self, data, optimizer, **kwargs):
        losses = self(**data)
        loss, log_vars = self._parse_losses(losses)
        return dict(loss=loss, log_vars=log_vars, num_samples=len(data['img_metas']))

    def val_step(self, data, optimizer=None, **kwargs):
        return self.train_step(data, optimizer)

    def _parse_losses(self, losses):
        loss = sum(value for key, value in losses.items() if 'loss' in key)
        return loss, {key: float(value) for key, value in dict(losses, loss=loss).items()}


@MODELS.register_module()
class TinyGAN(BaseModule):
    """Two optimizers, stepped by the model."""

    def __init__(self, channels, train_cfg=None, test_cfg=None):
        super().__init__()
        self.generator = nn.Conv2d(3, channels, 1)
        self.discriminator = nn.Conv2d(channels, 1, 1)

    def forward(self, img, img_metas, return_loss=True, **kwargs):
        return list(self.generator(img[0] if isinstance(img, list) else img).detach().cpu().numpy())

    def train_step(self, data_batch, optimizer):
        score = self.discriminator(self.generator(data_batch['img']).detach()).mean()
        loss_d, log_vars = self._parse_losses(dict(loss_d=nn.functional.softplus(score)))
        optimizer['discriminator'].zero_grad()
        loss_d.backward()
        optimizer['discriminator'].step()
        loss_g = -self.discriminator(self.generator(data_batch['img'])).mean()
        optimizer['generator'].zero_grad()
        loss_g.backward()
        optimizer['generator'].step()
        log_vars['loss_g'] = loss_g.item()
        return dict(log_vars=log_vars, num_samples=len(data_batch['img']))

    @staticmethod
    def _parse_losses(losses):
        return sum(losses.values()), {key: value.item() for key, value in losses.items()}


@HOOKS.register_module()
class HalvingOptimizerHook(OptimizerHook):
    """Accumulates and halves, as repositories with a step of their own do."""

    def __init__(self, update_interval=1, **kwargs):
        super().__init__(**kwargs)
        self.update_interval = update_interval

    def before_run(self, runner):
        runner.optimizer.zero_grad()

    def after_train_iter(self, runner):
        loss = runner.outputs['loss'] / (2 * self.update_interval)
        loss.backward()
        if self.every_n_iters(runner, self.update_interval):
            if self.grad_clip is not None:
                self.clip_grads(runner.model.parameters())
            runner.optimizer.step()
            runner.optimizer.zero_grad()
