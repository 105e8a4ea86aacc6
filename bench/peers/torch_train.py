#!/usr/bin/env python3
"""PyTorch's side of the cross-check of accuracy: one training, its test accuracy as a line of JSON.

The rules are those of tinytl: crops of at least half of the area, mirroring, batch 8, Adam,
5 % of the steps warm-up and half a cosine (weights of `full` a longer warm-up), label smoothing
0.1, dropout 0.2, a classifier that starts at 0, the last epoch. Weights are float32, and random
numbers are PyTorch's.
"""
import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from torch_step import build

BATCH, SMOOTHING = 8, 0.1
WARMUP, WEIGHT_WARMUP = 0.05, 1 / 3  # shares of the steps
MIN_SCALE, LOG_ASPECT = 0.5, math.log(4 / 3)


def read(folder):
    """Pictures and labels, classes sorted by name."""
    samples = []
    for label, name in enumerate(sorted(path.name for path in folder.iterdir())):
        for path in sorted((folder / name).iterdir()):
            samples.append((Image.open(path).convert('RGB'), label))
    return samples


def tensor(picture):
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.reshape(*picture.size[::-1], 3).permute(2, 0, 1).float() / 127.5 - 1


def random_crop(picture, size):
    """torchvision's RandomResizedCrop, then half of them mirrored."""
    width, height = picture.size
    w, h = min(width, height), min(width, height)
    for _ in range(10):
        area = width * height * random.uniform(MIN_SCALE, 1)
        aspect = math.exp(random.uniform(-LOG_ASPECT, LOG_ASPECT))
        tried = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tried[0] <= width and 0 < tried[1] <= height:
            w, h = tried
            break
    x, y = random.randint(0, width - w), random.randint(0, height - h)
    crop = picture.resize((size, size), Image.BILINEAR, (x, y, x + w, y + h))
    return crop.transpose(Image.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


def centre_crop(picture, size):
    """The short side to size * 256 / 224, then the middle."""
    width, height = picture.size
    scale = round(size * 256 / 224) / min(width, height)
    picture = picture.resize((round(width * scale), round(height * scale)), Image.BILINEAR)
    x, y = (picture.size[0] - size) // 2, (picture.size[1] - size) // 2
    return picture.crop((x, y, x + size, y + size))


def share_of_rate(step, n_steps):
    n_warmup = int(WARMUP * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    return 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))


def share_of_weight_rate(step, n_steps):
    n_warmup = int(WEIGHT_WARMUP * n_steps)
    begun = (step + 1) / n_warmup if step < n_warmup else 1
    return begun**2 * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def train(net, samples, size, args):
    groups = {'classifier': [], 'bias': [], 'weight': []}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            module, _, kind = name.rpartition('.')
            groups['classifier' if module == 'classifier' else kind].append(parameter)
    names = [name for name in groups if groups[name]]
    optimizer = torch.optim.Adam([{'params': groups[name], 'lr': getattr(args, 'lr_' + name)}
                                  for name in names])
    n_steps = args.epochs * math.ceil(len(samples) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, [lambda step, of=share_of_weight_rate if name == 'weight' else share_of_rate:
                    of(step, n_steps) for name in names])
    net.train()
    for _ in range(args.epochs):
        random.shuffle(samples)
        for first in range(0, len(samples), BATCH):
            batch = samples[first:first + BATCH]
            x = torch.stack([tensor(random_crop(picture, size)) for picture, _ in batch])
            labels = torch.tensor([label for _, label in batch])
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), labels,
                            label_smoothing=SMOOTHING).backward()
            optimizer.step()
            schedule.step()


def top1(net, samples, size):
    net.eval()
    n_right = 0
    with torch.inference_mode():
        for picture, label in samples:
            n_right += int(net(tensor(centre_crop(picture, size))[None]).argmax()) == label
    return n_right / len(samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--weights', required=True, help='safetensors file')
    parser.add_argument('--data', type=Path, required=True, help='folder with train and test')
    parser.add_argument('--method', choices=('last', 'bias', 'full'), required=True)
    parser.add_argument('--epochs', type=int, required=True)
    parser.add_argument('--lr-classifier', type=float, required=True)
    parser.add_argument('--lr-bias', type=float, required=True, help="of convolutions' biases")
    parser.add_argument('--lr-weight', type=float, required=True, help="of convolutions' weights")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    samples, test = read(args.data / 'train'), read(args.data / 'test')
    net, size = build(args.weights, args.method, 1 + max(label for _, label in samples))
    for parameter in net.classifier.parameters():
        torch.nn.init.zeros_(parameter)
    net = net.to(memory_format=torch.channels_last)
    start = time.perf_counter()
    train(net, samples, size, args)
    print(json.dumps({'images': len(test), 'top1': top1(net, test, size),
                      'seconds': time.perf_counter() - start, 'torch': torch.__version__}))


if __name__ == '__main__':
    main()
