#!/usr/bin/env python3
"""Pre-trains tinytl's default backbone together with its lite residual modules, and exports it.

The data is a folder of pictures, DATA/{train,test}/<class>/<file>, with DATA/words.txt
("<class><tab><name>" a line) naming the classes.  The result is one safetensors file: the main
branch in int8 with its batch norms folded in, lite modules, biases and scales in float32.
The export is checked by reading the file back and evaluating what it holds.

    python3 tools/pretrain.py --data tiny-imagenet100 --out models/default.safetensors
"""
import argparse
import copy
import json
import math
import os
import struct
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

SIZE = 64          # side of the input at which accuracy is stated
STEM, FEATURES = 16, 384
# kernel, expand, out, stride; a shortcut wherever stride is 1 and in = out.
BLOCKS = [(3, 1, 16, 1), (3, 4, 24, 2), (3, 3, 24, 1), (5, 4, 48, 2), (3, 4, 48, 1), (3, 4, 48, 1),
          (5, 6, 96, 2), (3, 4, 96, 1), (5, 4, 96, 1), (3, 6, 128, 1)]
# Nominal map side at the first block, for the kernels of the lite modules: an input of 128, the
# largest this small network is made for.  k = 5, less 2 while half the map's side is below k.
LITE_NOMINAL = 64
LITE_EPS = 1e-3    # of the lite modules' group norms, which have 8 channels a group
# Resolutions of the training batches and how often each is drawn.
RESOLUTIONS, RESOLUTION_ODDS = (48, 64, 80), (0.35, 0.5, 0.15)


# ------------------------------------------------------------------------------------- network

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


# ---------------------------------------------------------------------------------------- data

def load(root, classes):
    """All pictures of one split: (n, 3, SIZE, SIZE) uint8 and their labels."""
    pictures, labels = [], []
    for label, name in enumerate(classes):
        folder = os.path.join(root, name)
        for file in sorted(os.listdir(folder)):
            with Image.open(os.path.join(folder, file)) as picture:
                picture = picture.convert('RGB')
                if picture.size != (SIZE, SIZE):
                    raise SystemExit(f'{folder}/{file}: expected {SIZE} x {SIZE} pixels')
                pictures.append(np.asarray(picture))
            labels.append(label)
    pictures = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.tensor(labels)


def normalise(pictures):
    return pictures.float() / 127.5 - 1


def augment(pictures, size, least=0.3, jitter=0.3):
    """Random resized crop (area from `least` up, sides 3:4 to 4:3), mirror and colour jitter."""
    n = len(pictures)
    x = normalise(pictures)
    area = torch.empty(n).uniform_(least, 1)
    ratio = torch.empty(n).uniform_(-1, 1).mul(math.log(4 / 3) / 2).exp()
    w, h = (area.sqrt() * ratio).clamp(max=1), (area.sqrt() / ratio).clamp(max=1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = w * (torch.rand(n) < 0.5).float().mul(2).sub(1)
    theta[:, 1, 1] = h
    theta[:, 0, 2] = (torch.rand(n) * 2 - 1) * (1 - w)
    theta[:, 1, 2] = (torch.rand(n) * 2 - 1) * (1 - h)
    grid = F.affine_grid(theta, (n, 3, size, size), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode='border', align_corners=False)
    gain, contrast, colour = torch.empty(3, n, 1, 1, 1).uniform_(1 - jitter, 1 + jitter)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * colour
    mean = x.mean((1, 2, 3), keepdim=True)
    return (mean + (x - mean) * contrast + 1) * gain - 1


def cut_mix(x):
    """Pastes a rectangle of another picture into each: pictures, other's index, own share."""
    side, other = x.shape[-1], torch.randperm(len(x))
    edge = math.sqrt(1 - np.random.beta(1, 1)) * side / 2
    row, column = np.random.uniform(0, side, 2)
    rows = slice(max(0, round(row - edge)), min(side, round(row + edge)))
    columns = slice(max(0, round(column - edge)), min(side, round(column + edge)))
    x[:, :, rows, columns] = x[other, :, rows, columns]
    cut = (rows.stop - rows.start) * (columns.stop - columns.start)
    return x, other, 1 - cut / side ** 2


@torch.no_grad()
def top1(net, pictures, labels, size=SIZE, resize=None):
    """Per cent right, pictures scaled to `resize` (default: size) and centre-cropped to `size`."""
    right = 0
    for i in range(0, len(pictures), 100):
        x = normalise(pictures[i:i + 100])
        resize = resize or size
        if resize != SIZE:
            x = F.interpolate(x, (resize, resize), mode='bilinear', antialias=True)
        start = (resize - size) // 2
        x = x[:, :, start:start + size, start:start + size]
        right += (net(x).argmax(1) == labels[i:i + 100]).sum().item()
    return 100 * right / len(pictures)


# ------------------------------------------------------------------------------------ training

def train(net, data, test, args):
    """SGD with a warm-up and a cosine to zero; returns the running average of the weights."""
    pictures, labels = data
    decay = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD([{'params': decay, 'weight_decay': args.decay},
                                 {'params': rest, 'weight_decay': 0}],
                                args.lr, momentum=0.9, nesterov=True)
    average = copy.deepcopy(net).eval()
    n_steps, step, start = len(pictures) // args.batch, 0, time.time()
    progress, epoch = 0.0, 0
    while progress < 1:
        net.train()
        order, loss_sum = torch.randperm(len(pictures)), 0.0
        for i in range(n_steps):
            progress = step / (n_steps * args.epochs)
            if args.minutes:
                progress = max(progress, (time.time() - start) / (60 * args.minutes))
            rate = args.lr * min(1, (step + 1) / (2 * n_steps))
            for group in optimizer.param_groups:
                group['lr'] = rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
            index = order[i * args.batch:(i + 1) * args.batch]
            y = labels[index]
            x = augment(pictures[index], int(np.random.choice(RESOLUTIONS, p=RESOLUTION_ODDS)))
            other, share = None, 1.0
            if np.random.rand() < args.cut_mix:
                x, other, share = cut_mix(x)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast('cpu', torch.bfloat16, enabled=args.bf16):
                logits = net(x)
            loss = F.cross_entropy(logits.float(), y, label_smoothing=0.1) * share
            if other is not None:
                loss += F.cross_entropy(logits.float(), y[other], label_smoothing=0.1) * (1 - share)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            step += 1
            keep = min(0.999, step / (step + 10))
            with torch.no_grad():
                for mean, value in zip(average.state_dict().values(), net.state_dict().values()):
                    if mean.is_floating_point():
                        mean.lerp_(value, 1 - keep)
        epoch += 1
        progress = max(progress, step / (n_steps * args.epochs))
        print(f'epoch {epoch} loss {loss_sum / n_steps:.3f} test top-1 {top1(average, *test):.1f} '
              f'{(time.time() - start) / 60:.1f} min {100 * progress:.1f} %', flush=True)
        if args.checkpoint:
            torch.save(average.state_dict(), args.checkpoint)
    return average
