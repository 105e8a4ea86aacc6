"""The teacher for training: MobileNetV2's inverted residuals with TinyTL's lite modules."""
import torch.nn.functional as F
from torch import nn

from backbone_file import LITE_EPS

STEM, FEATURES = 16, 384
# kernel, expand, out, stride; a shortcut wherever stride is 1 and in = out.
BLOCKS = [(3, 1, 16, 1), (3, 4, 24, 2), (3, 3, 24, 1), (5, 4, 48, 2), (3, 4, 48, 1), (3, 4, 48, 1),
          (5, 6, 96, 2), (3, 6, 96, 1), (5, 6, 96, 1), (3, 6, 128, 1)]
# Nominal map side at the first block, for the kernels of the lite modules: an input of 128, the
# largest this small network is made for.  k = 5, less 2 while half the map's side is below k.
LITE_NOMINAL = 64


class ConvNorm(nn.Sequential):
    """Convolution with symmetric padding, batch norm, and ReLU6 unless act is 'none'."""

    def __init__(self, n_in, n_out, kernel, stride=1, groups=1, act='relu6'):
        conv = nn.Conv2d(n_in, n_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode='fan_out')
        super().__init__(conv, nn.BatchNorm2d(n_out),
                         nn.ReLU6(inplace=True) if act == 'relu6' else nn.Identity())
        self.act = act


class Lite(nn.Module):
    """Lite residual module: an exact zero until its last norm's scale is trained."""

    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        mid = (n_in + 7) // 8 * 8
        self.conv = nn.Conv2d(n_in, mid, kernel, stride, (kernel - 1) // 2, groups=2, bias=False)
        self.norm1 = nn.GroupNorm(mid // 8, mid, eps=LITE_EPS)
        self.pointwise = nn.Conv2d(mid, n_out, 1, bias=False)
        self.norm2 = nn.GroupNorm(n_out // 8, n_out, eps=LITE_EPS)
        for conv in (self.conv, self.pointwise):
            nn.init.kaiming_normal_(conv.weight, mode='fan_out')
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x, size):
        x = F.avg_pool2d(x, [min(2, side) for side in x.shape[2:]], 2)
        x = self.norm2(self.pointwise(F.relu(self.norm1(self.conv(x)))))
        return F.interpolate(x, size, mode='bilinear', align_corners=False)


class Block(nn.Module):
    def __init__(self, n_in, n_out, kernel, expand, stride, lite_kernel):
        super().__init__()
        wide = n_in * expand
        convs = [ConvNorm(n_in, wide, 1)] if expand > 1 else []
        convs += [ConvNorm(wide, wide, kernel, stride, groups=wide),
                  ConvNorm(wide, n_out, 1, act='none')]
        self.main = nn.Sequential(*convs)
        self.lite = Lite(n_in, n_out, lite_kernel, stride) if lite_kernel else None
        self.shortcut = stride == 1 and n_in == n_out

    def forward(self, x):
        y = self.main(x)
        if self.lite is not None:
            y = y + self.lite(x, y.shape[2:])
        return y + x if self.shortcut else y


class Net(nn.Module):
    def __init__(self, n_classes, dropout=0.2):
        super().__init__()
        self.stem = ConvNorm(3, STEM, 3, 2)
        blocks, n_in, side = [], STEM, LITE_NOMINAL
        for b, (kernel, expand, n_out, stride) in enumerate(BLOCKS):
            lite_kernel = 5
            while lite_kernel > 1 and side / 2 < lite_kernel:
                lite_kernel -= 2
            blocks.append(Block(n_in, n_out, kernel, expand, stride, lite_kernel if b else 0))
            n_in, side = n_out, side // stride
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(n_in, FEATURES, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(FEATURES, n_classes)

    def features(self, x):
        return self.head(self.blocks(self.stem(x))).mean((2, 3))

    def forward(self, x):
        return self.classifier(self.dropout(self.features(x)))

    def layers(self):
        """The main branch's convolutions in order: (ConvNorm, index of the layer added or None)."""
        out = [(self.stem, None)]
        for block in self.blocks:
            source = len(out) - 1
            out += [(conv, None) for conv in block.main]
            if block.shortcut:
                out[-1] = (out[-1][0], source)
        return out + [(self.head, None)]
