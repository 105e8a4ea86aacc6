#!/usr/bin/env python3
"""Losses of tinytl and of PyTorch beside each other, update by update, where nothing is drawn.

A few pictures a class, scaled to the network's input once, are one batch: no order, no crops, no
dropout, no validation, and float32 weights on both sides. Losses that part are a defect.
"""
import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F

from torch_step import build
from torch_train import SMOOTHING, centre_crop, read, share_of_rate, share_of_weight_rate, tensor

sys.path.append(str(Path(__file__).parents[1]))
from common import WEIGHTS, add_paths, import_backbone, run_json  # noqa: E402

RATE, WEIGHT_RATE = 2e-3, 3e-4  # src/train/rules.c


def write_pictures(source, target, n, size):
    """The first n pictures of each class, so small already that both sides only cut them."""
    samples, counts, side = [], Counter(), round(size * 256 / 224)
    for picture, label in read(source):
        counts[label] += 1
        if counts[label] > n:
            continue
        file = target / f'{label:04}' / f'{counts[label]}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = picture.resize((side, side))
        picture.save(file)
        samples.append((centre_crop(picture, size), label))
    return samples


def losses_of_tinytl(args, pictures, n_images, folder):
    backbone = import_backbone(args.tinytl, args.data / 'weights' / WEIGHTS[args.network], folder,
                               'f32')
    epochs = run_json([args.tinytl, 'train', '-m', backbone, '-d', pictures, '-o',
                       Path(folder) / 'adapter', '--method', args.method, '--epochs', args.updates,
                       '--batch', n_images, '--lr', RATE, '--image-size', args.size,
                       '--augment', 'off', '--dropout', 0, '--val-split', 0, '--json', '-q'])
    return [epoch['loss'] for epoch in epochs if 'loss' in epoch]


def losses_of_torch(args, samples):
    net, _ = build(args.data / 'weights' / WEIGHTS[args.network], args.method,
                   1 + max(label for _, label in samples))
    for parameter in net.classifier.parameters():
        torch.nn.init.zeros_(parameter)
    net.dropout.p = 0
    rates = {name: WEIGHT_RATE if parameter.dim() == 4 else RATE
             for name, parameter in net.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.Adam([{'params': [net.get_parameter(name)], 'lr': rate}
                                  for name, rate in rates.items()])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, [lambda step, of=share_of_weight_rate if net.get_parameter(name).dim() == 4
                    else share_of_rate: of(step, args.updates) for name in rates])
    x = torch.stack([tensor(picture) for picture, _ in samples])
    labels, losses = torch.tensor([label for _, label in samples]), []
    for _ in range(args.updates):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels, label_smoothing=SMOOTHING)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    add_paths(parser)
    parser.add_argument('--network', choices=WEIGHTS, default='mcunet-5fps')
    parser.add_argument('--set', default='flowers17', help='folder of images')
    parser.add_argument('--method', choices=('bias', 'full'), required=True)
    parser.add_argument('--pictures', type=int, default=3, help='a class')
    parser.add_argument('--size', type=int, default=64, help='side of the input')
    parser.add_argument('--updates', type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / 'pictures'
        samples = write_pictures(args.data / 'images' / args.set / 'train', pictures, args.pictures,
                                 args.size)
        ours = losses_of_tinytl(args, pictures, len(samples), folder)
    theirs = losses_of_torch(args, samples)
    print('update     tinytl    PyTorch  difference')
    for update, (our, their) in enumerate(zip(ours, theirs), 1):
        print(f'{update:6} {our:10.6f} {their:10.6f} {our - their:11.1e}')


if __name__ == '__main__':
    main()
