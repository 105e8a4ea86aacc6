"""The Markdown of docs/results.md, from results alone: nothing here is measured."""
from statistics import mean
from typing import NamedTuple

IMAGENET_WEIGHTS = ('int8', 'f32')
IMAGENET_TARGET = 80.0   # int8, % top-1
IMAGENET_PYTORCH = 80.7  # float32, the same pictures


class Cell(NamedTuple):
    """One figure to reach."""
    network: str
    method: str
    image_set: str
    target: float  # % top-1 on the test pictures
    pytorch: str   # the same training in PyTorch


def row(network, method, *figures):
    sets = ('flowers17', 'gtsrb43', 'hymenoptera', 'cifar10')
    return [Cell(network, method, name, *figure) for name, figure in zip(sets, figures)]


CELLS = [
    *row('MobileNetV2-1.0', 'last', (94.5, '95.2'), (61, '62.2'), (96, '97.4'), (63, '63.7')),
    *row('mcunet-5fps', 'last', (92, '93.0'), (45, '45.7'), (91, '91.1'), (61, '62.5')),
    *row('mcunet-5fps', 'bias', (94.5, '95.6'), (71, '72.0'), (93, '93.5'), (68, '')),
    *row('mcunet-5fps', 'lite+bias', (95, '95.6'), (84, '84.4 (16 epochs: 87.3)'), (92, '92.2'),
         (73, '73.0'))]
SIZES = {'MobileNetV2-1.0': 224, 'mcunet-5fps': 128}

ABOUT = """\
Top-1 on test pictures that neither training nor the choice of the epoch has seen, in %. Defaults
only: no option is tuned to a set; `gtsrb43` runs with `--no-mirror`, since left and right differ in
traffic signs. The backbones are imported with int8 weights.
"""
PYTORCH = """\
*PyTorch* is float32 PyTorch on the same pictures, as published with the test data, not measured in
this run. `last`: a linear head on cached features, AdamW, batch 32, 60 epochs, three seeds. `bias`
and `lite+bias`: Adam, batch 16, cosine, one seed, 4 to 16 epochs, the last epoch. Full fine-tuning
of mcunet-5fps there reaches 96.0 on flowers17, 89.7 on gtsrb43, 88.9 on hymenoptera, 74.3 on
cifar10.
"""
COST = """\
Means over the seeds. *Validation* is the accuracy that chose the epoch. *Planned* is what the
program promised before it began, *measured* the largest resident memory of the whole process.
Seconds are of whole `train` runs, decoding, augmentation and validation included, with as many
runs at a time and threads a run as the command above says; pictures/s are training pictures through
the network, which `last` runs once a picture.
"""
def table(header, rows):
    """header: titles; a title that ends in ':' is right-aligned."""
    align = ['---:' if title.endswith(':') else '---' for title in header]
    lines = [[title.rstrip(':') for title in header], align, *rows]
    return ''.join('| ' + ' | '.join(map(str, line)) + ' |\n' for line in lines)


def spread(values, digits=1, middle=mean):
    """A middle value, and the range where there is one."""
    text = f'{middle(values):.{digits}f}'
    if len(values) > 1:
        text += f' ({min(values):.{digits}f} to {max(values):.{digits}f})'
    return text


def verdict(value, target):
    # One picture is 0.1 point at the least: a shortfall below 1e-9 is rounding.
    return 'yes' if value >= target - 1e-9 else f'**no**, {target - value:.2f} short'


def name(cell):
    return [f'{cell.network} at {SIZES[cell.network]}', f'`{cell.method}`', cell.image_set]


def accuracy_row(cell, runs):
    top1 = [100 * run['eval']['top1'] for run in runs]
    return [*name(cell), spread(top1), len(top1), cell.target, verdict(mean(top1), cell.target),
            cell.pytorch]


def cost_row(cell, runs):
    def average(key, scale=1.0):
        return mean(run['train'][key] for run in runs) * scale

    kept = mean(run['train']['best_epoch'] for run in runs)
    return [*name(cell), f'{average("val_top1", 100):.1f}', f'{average("epochs"):.0f}',
            f'{kept:.1f}', f'{average("seconds"):.0f}', f'{average("images_per_second"):.1f}',
            f'{average("planned_bytes", 1e-6):.1f}', f'{average("peak_rss_bytes", 1e-6):.1f}']


def imagenet_rows(results):
    for weights in IMAGENET_WEIGHTS:
        result = results.get((weights,))
        if result:
            top1 = 100 * result['top1']
            target = [IMAGENET_TARGET, verdict(top1, IMAGENET_TARGET)] \
                if weights == 'int8' else ['', '']
            yield [f'tinytl, {weights}', f'{top1:.1f}', f'{100 * result["top5"]:.1f}', *target]
    yield ['PyTorch, float32 (published with the test data)', IMAGENET_PYTORCH, '', '', '']


def machine_lines(info):
    return ''.join(f'- {title}: {info[key]}\n' for title, key in
                   (('Program', 'program'), ('Compiler', 'compiler'), ('Machine', 'cpu'),
                    ('Date', 'date')))


def accuracy(results, seeds, info):
    """The whole page. results: (network, method, set, seed) or (weights,) -> result."""
    cells = {cell: [results[key] for seed in seeds
                    if (key := (cell.network, cell.method, cell.image_set, seed)) in results]
             for cell in CELLS}
    cells = {cell: runs for cell, runs in cells.items() if runs}
    what = ['backbone', 'method', 'set']
    sections = [
        '# Results\n', 'Made by `bench/accuracy.py`; see `bench/README.md`.\n',
        machine_lines(info) + f'- SHA-256 of the program: `{info["sha256"]}`\n'
        f'- Command: `{info["command"]}`\n',
        '## Transfer to new pictures\n', ABOUT,
        table([*what, 'top-1, mean (range):', 'seeds:', 'target:', 'met', 'PyTorch'],
              [accuracy_row(cell, runs) for cell, runs in cells.items()]),
        PYTORCH, '## What it cost\n', COST,
        table([*what, 'validation:', 'epochs:', 'kept:', 'seconds:', 'pictures/s:', 'planned MB:',
               'measured MB:'], [cost_row(cell, runs) for cell, runs in cells.items()]),
        '## Weights in 8 bits\n',
        'MobileNetV2-1.0 from its TFLite file, the 1,000 pictures of `imagenet-1k-sample`, in %.\n',
        table(['', 'top-1:', 'top-5:', 'target:', 'met'], imagenet_rows(results)),
        'Speed: [performance.md](performance.md). Memory: [memory.md](memory.md).\n']
    return '\n'.join(sections)
