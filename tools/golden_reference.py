#!/usr/bin/env python3
"""Prints the logits that tests/ops/test_reference.c expects, computed by PyTorch in double.

The network and its numbers are made by formula, the same in both places: value i of tensor t is
sin(0.7 i + t), rounded to float32, times a gain."""
import numpy as np
import torch
import torch.nn.functional as F

SIZE = 19
# in, out, kernel, stride, groups, act, add
LAYERS = [(3, 8, 3, 2, 1, "relu6", -1),
          (8, 24, 1, 1, 1, "relu6", -1), (24, 24, 5, 2, 24, "relu6", -1), (24, 12, 1, 1, 1, "none", -1),
          (12, 32, 1, 1, 1, "relu", -1), (32, 32, 3, 1, 32, "relu", -1), (32, 12, 1, 1, 1, "none", 3),
          (12, 20, 1, 1, 1, "relu6", -1)]
# block's first and last layer, in, mid, out, kernel, groups, stride
LITE = [(1, 3, 8, 8, 12, 3, 2, 2), (4, 6, 12, 16, 12, 1, 4, 1)]
CLASSES = 5


def tensor(t, gain, *shape):
    i = np.arange(np.prod(shape))
    return torch.from_numpy((np.float32(gain) * np.sin(0.7 * i + t).astype(np.float32)).astype(np.float64)).reshape(shape)


def group_norm(x, scale, shift):
    parts = [F.group_norm(p, 1, eps=1e-3) for p in x.split(8, dim=1)]
    return torch.cat(parts, 1) * scale[:, None, None] + shift[:, None, None]


def lite(module, index, x, side):
    _, _, n_in, mid, out, k, groups, stride = module
    t = 100 + 10 * index
    conv = tensor(t, 0.5, mid, k, k, n_in // groups).permute(0, 3, 1, 2)
    y = F.conv2d(F.avg_pool2d(x, 2), conv, stride=stride, padding=(k - 1) // 2, groups=groups)
    y = F.relu(group_norm(y, tensor(t + 1, 1, mid), tensor(t + 2, 0.5, mid)))
    y = F.conv2d(y, tensor(t + 3, 0.5, out, mid)[:, :, None, None])
    y = group_norm(y, tensor(t + 4, 1, out), tensor(t + 5, 0.5, out))
    return F.interpolate(y, size=side, mode="bilinear", align_corners=False)


def main():
    for padding in ("symmetric", "same"):
        pixels = torch.tensor([(i * 37 + i // 7) % 256 for i in range(SIZE * SIZE * 3)], dtype=torch.float64)
        x = (pixels.reshape(1, SIZE, SIZE, 3) / 255 - 0.5) / torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
        outputs = [x.permute(0, 3, 1, 2)]
        for i, (n_in, out, k, stride, groups, act, add) in enumerate(LAYERS):
            x = outputs[-1]
            if groups > 1:
                w = tensor(2 * i, 0.5, k, k, out).permute(2, 0, 1)[:, None]
            else:
                w = tensor(2 * i, 0.5, out, k, k, n_in).permute(0, 3, 1, 2)
            if padding == "same":
                total = [max((-(-s // stride) - 1) * stride + k - s, 0) for s in x.shape[2:]]
                x = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
            y = F.conv2d(x, w, tensor(2 * i + 1, 0.5, out), stride, (k - 1) // 2 if padding == "symmetric" else 0, 1, groups)
            y = {"relu": F.relu, "relu6": F.relu6, "none": lambda v: v}[act](y)
            if add >= 0:
                y = y + outputs[add + 1]
            for j, module in enumerate(LITE):
                if module[1] == i:
                    y = y + lite(module, j, outputs[module[0]], y.shape[2:])
            outputs.append(y)
        features = outputs[-1].mean((2, 3))
        logits = F.linear(features, tensor(200, 0.5, CLASSES, features.shape[1]), tensor(201, 0.5, CLASSES))
        loss = F.cross_entropy(logits, torch.tensor([2]), label_smoothing=0.3)
        print(padding, *("%.9f" % v for v in logits[0]), "loss %.9f" % loss)


main()
