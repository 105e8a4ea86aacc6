#!/usr/bin/env python3
"""Pre-trains the teacher of tinytl's bundled super-net, a small network of its own with lite residual
modules, and exports it as a backbone file.

The data is a folder of pictures, DATA/{train,test}/<class>/<file>, with DATA/words.txt
("<class><tab><name>" a line) naming the classes.  The result is one safetensors file: the main
branch in int8 with its batch norms folded in, lite modules, biases and scales in float32.
The export is checked by reading the file back and evaluating what it holds.

    python3 tools/pretrain.py --data tiny-imagenet100 --out teacher.safetensors
"""
import argparse
import copy
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import backbone_file
from network import Net

SIZE = 64          # side of the input at which accuracy is stated
RESIZE = 64        # short side that a picture is scaled to before the centre crop


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

def average_over(processes, net, progress):
    """Averages the gradients over the processes; returns their average progress."""
    gradients = [p.grad for p in net.parameters()]
    flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([progress])])
    torch.distributed.all_reduce(flat)
    flat /= processes
    parts = flat[:-1].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts):
        gradient.copy_(part.view_as(gradient))
    return flat[-1].item()


def train(rank, net, data, test, args):
    """One process of the training: SGD with a warm-up and a cosine to zero.  The first writes the
    running average of the weights to the checkpoint after every epoch."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(1000 * args.seed + rank)  # augmentation: each process its own
    np.random.seed(args.seed)                   # resolution and cuts: the same in all
    shuffle = torch.Generator().manual_seed(args.seed)
    torch.distributed.init_process_group('gloo', init_method='tcp://127.0.0.1:29511', rank=rank,
                                         world_size=args.processes)
    net = net.to(memory_format=torch.channels_last)
    pictures, labels = data
    decay = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD([{'params': decay, 'weight_decay': args.decay},
                                 {'params': rest, 'weight_decay': 0}],
                                args.lr, momentum=0.9, nesterov=True)
    average = copy.deepcopy(net).eval()
    run = torch.compile(net, dynamic=False) if args.compile else net
    sides, odds = zip(*args.sides)
    n_steps, step, start = len(pictures) // args.batch, 0, time.time()
    share_of_batch, progress, epoch = args.batch // args.processes, args.start, 0
    while progress < 1:
        net.train()
        order, loss_sum = torch.randperm(len(pictures), generator=shuffle), 0.0
        for i in range(n_steps):
            rate = args.lr * min(1, (step + 1) / args.warm_up)
            for group in optimizer.param_groups:
                group['lr'] = rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
            first = i * args.batch + rank * share_of_batch
            index = order[first:first + share_of_batch]
            y = labels[index]
            x = augment(pictures[index], int(np.random.choice(sides, p=odds)))
            other, own = torch.arange(len(x)), 1.0
            if np.random.rand() < args.cut_mix:
                x, other, own = cut_mix(x)
            logits = run(x.contiguous(memory_format=torch.channels_last))
            loss = (own * F.cross_entropy(logits, y, label_smoothing=0.1) +
                    (1 - own) * F.cross_entropy(logits, y[other], label_smoothing=0.1))
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            step += 1
            done = step / (n_steps * args.epochs)
            if args.minutes:
                done = max(done, (time.time() - start) / (60 * args.minutes))
            progress = average_over(args.processes, net, args.start + (1 - args.start) * done)
            optimizer.step()
            loss_sum += loss.item()
            keep = min(0.999, step / (step + 10))
            with torch.no_grad():
                for mean, value in zip(average.state_dict().values(), net.state_dict().values()):
                    if mean.is_floating_point():
                        mean.lerp_(value, 1 - keep)
        epoch += 1
        if rank == 0:
            print(f'epoch {epoch}: loss {loss_sum / n_steps:.3f}, test top-1 '
                  f'{top1(average, *test):.1f} %, {(time.time() - start) / 60:.1f} min, '
                  f'{100 * progress:.1f} % done', flush=True)
            torch.save(average.state_dict(), args.checkpoint)


# -------------------------------------------------------------------------------------- export

def export(path, net, data_root, classes):
    with open(os.path.join(data_root, 'words.txt'), encoding='utf-8') as file:
        words = dict(line.rstrip('\n').split('\t') for line in file)
    shape = {'size': SIZE, 'resize': RESIZE, 'mean': [0.5] * 3, 'std': [0.5] * 3}
    backbone_file.write(path, net, {
        'tinytl.input': json.dumps(shape),
        'tinytl.labels': json.dumps([words[name].split(',')[0] for name in classes]),
        'source': 'pre-trained by tools/pretrain.py on 100 classes of Tiny ImageNet',
        'licence': 'MIT'})


def report(name, net, test):
    sides = [(SIZE, SIZE), (SIZE, 73), (48, 48), (80, 80), (96, 96), (128, 128)]
    figures = [f'{size} px (resize {resize}) {top1(net, *test, size, resize):.1f}'
               for size, resize in sides]
    print(f'{name}: test top-1 at ' + ', '.join(figures), flush=True)


def parse_sides(text):
    return [(int(side), float(odds)) for side, odds in (part.split(':') for part in text.split(','))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data', required=True, help='folder with train/, test/ and words.txt')
    parser.add_argument('--out', required=True, help='safetensors file to write')
    parser.add_argument('--epochs', type=int, default=100, help='0: only export what --resume names')
    parser.add_argument('--minutes', type=float, default=0,
                        help='anneal over this time where the epochs would take longer')
    parser.add_argument('--processes', type=int, default=1, help='that share each batch')
    parser.add_argument('--threads', type=int, default=2, help='of each process')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--warm-up', type=int, default=624, help='steps')
    parser.add_argument('--sides', type=parse_sides, default='48:0.35,64:0.5,80:0.15',
                        help="sides of the batches' pictures and how often each is drawn")
    parser.add_argument('--lr', type=float, default=0.05)
    parser.add_argument('--decay', type=float, default=1e-4, help='weight decay')
    parser.add_argument('--cut-mix', type=float, default=0.3, help='share of batches cut and mixed')
    parser.add_argument('--compile', action='store_true', help='use torch.compile (faster)')
    parser.add_argument('--checkpoint', default='pretrain.pt',
                        help='file for the running average of the weights')
    parser.add_argument('--resume', help='checkpoint to start from')
    parser.add_argument('--start', type=float, default=0, help='share of the cosine already done')
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    classes = sorted(os.listdir(os.path.join(args.data, 'train')))
    test = load(os.path.join(args.data, 'test'), classes)
    net = Net(len(classes))
    if args.resume:
        net.load_state_dict(torch.load(args.resume))
    if args.epochs > 0:
        data = load(os.path.join(args.data, 'train'), classes)
        torch.multiprocessing.spawn(train, (net, data, test, args), args.processes)
        net.load_state_dict(torch.load(args.checkpoint))
    net.eval()
    export(args.out, net, args.data, classes)
    report('float32 network', net, test)
    report(f'{args.out} ({os.path.getsize(args.out)} bytes)',
           backbone_file.Backbone(args.out), test)


if __name__ == '__main__':
    main()
