"""The Markdown of docs/results.md, from results alone: nothing here is measured."""
from statistics import mean
from typing import NamedTuple

METHODS = ('last', 'bias', 'lite', 'lite+bias', 'norm', 'full', 'auto')
SETS = ('flowers17', 'hymenoptera', 'gtsrb43', 'cifar10', 'cifar100')
SIZES = {'mcunet-5fps': 128, 'mbv2-w0.35': 128, 'proxyless-w0.3': 128, 'MobileNetV2-1.0': 224}
SHOTS = (5, 10, 20)
FEW_NETWORK, FEW_SETS = 'mcunet-5fps', ('flowers17', 'gtsrb43', 'cifar10')
FEW_METHODS = ('last', 'bias', 'lite+bias', 'auto')
DEFAULT_NETWORK, DEFAULT_SET, DEFAULT_SECONDS = 'mcunet-5fps', 'flowers17', 180

IMAGENET_WEIGHTS = ('int8', 'f32')
IMAGENET_TARGET = 80.0   # int8, % top-1
IMAGENET_PYTORCH = 80.7  # float32, the same pictures

SIGNS_TARGET = 88.0       # gtsrb43, mcunet-5fps, lite+bias
FULL_MARGIN = 1.0         # points that lite+bias may lose to full
FULL_MEMORY = 0.5         # share of full's memory that it may take
AUTO_MARGIN = 0.5         # points that auto may lose to the best method
CALIBRATION_TARGET = 5.0  # points of expected calibration error


class Cell(NamedTuple):
    """One figure of the tables. shots: training pictures a class; 0: all."""
    network: str
    method: str
    image_set: str
    shots: int = 0


CELLS = [Cell(network, method, image_set)
         for network in SIZES for image_set in SETS for method in METHODS]
CELLS += [Cell(FEW_NETWORK, method, image_set, shots)
          for image_set in FEW_SETS for shots in SHOTS for method in FEW_METHODS]


class CrossCheck(NamedTuple):
    """The same training here and in PyTorch."""
    network: str
    image_set: str
    epochs: int
    lr: dict  # method -> of the classifier, the biases, the weights (0: frozen)


CROSS = CrossCheck('mcunet-5fps', 'flowers17', 10,
                   {'bias': (2e-3, 2e-3, 0), 'full': (2e-3, 2e-3, 3e-4)})

# What a linear head on cached features, and the rest, reach in PyTorch: published with the data.
PYTORCH = {
    ('MobileNetV2-1.0', 'last'): dict(zip(SETS, ('95.2', '97.4', '62.2', '63.7'))),
    ('mcunet-5fps', 'last'): dict(zip(SETS, ('93.0', '91.1', '45.7', '62.5', '42.4'))),
    ('mbv2-w0.35', 'last'): dict(zip(SETS, ('91.5', '91.5', '45.0', '58.6'))),
    ('proxyless-w0.3', 'last'): dict(zip(SETS, ('91.2', '90.2', '36.7', '56.8'))),
    ('mcunet-5fps', 'bias'): dict(zip(SETS, ('95.6', '93.5', '72.0'))),
    ('mcunet-5fps', 'lite+bias'): dict(zip(SETS, ('95.6', '92.2', '87.3', '73.0'))),
    ('mcunet-5fps', 'full'): dict(zip(SETS, ('96.0', '88.9', '89.7', '74.3')))}

ABOUT = """\
Top-1 on test pictures that neither training nor the choice of the epoch has seen, in %: the mean
over the seeds, and the range in brackets. Defaults only: no option is tuned to a set; `gtsrb43`
runs with `--no-mirror`, since left and right differ in traffic signs, but for `auto`, which has to
find that out. The backbones are imported with int8 weights. *Mean* is over the sets that were run.
*MB* is the largest measured resident memory of the whole process over these runs, *planned* what
the program promised before, beyond what the process holds at its start; `last` and `auto` keep
features of every picture there. *Seconds* are of a whole `train` run, of the fastest seed, the mean over the sets,
decoding and validation included, with as many runs at a time and threads a run as the command
above says.
"""
PYTORCH_NOTE = """\
*PyTorch* rows are float32 PyTorch on the same pictures, as published with the test data, not
measured in this run. `last`: a linear head on cached features, AdamW, batch 32, 60 epochs, three
seeds. The others: Adam, batch 16, cosine, one seed, 4 to 16 epochs, the last epoch.
"""
FEW = """\
So many training pictures a class, drawn anew for every seed; the same test pictures as above.
"""
CROSS_NOTE = """\
The same training by two programs that share no code: the same pictures, crops of the same sizes,
optimizer, rates, batch, epochs and schedule, no validation split, the last epoch. Random numbers
differ, and weights are float32 in PyTorch.
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


def machine_lines(info):
    return ''.join(f'- {title}: {info[key]}\n' for title, key in
                   (('Program', 'program'), ('Compiler', 'compiler'), ('Machine', 'cpu'),
                    ('Date', 'date')))


class Average(NamedTuple):
    """A cell over its seeds."""
    cell: Cell
    seeds: list  # that were run
    top1: list   # %, of each
    images: int  # of the test
    seconds: float  # of the fastest
    planned: float  # MB
    peak: float
    ece: float  # points
    by_chance: float  # of it


def averages(results, seeds):
    """Of every cell that was run."""
    found = {}
    for cell in CELLS:
        run_seeds = [seed for seed in seeds if ('transfer', (cell, seed)) in results]
        runs = [results['transfer', (cell, seed)] for seed in run_seeds]
        if runs:
            found[cell] = Average(
                cell, run_seeds, [100 * run['eval']['top1'] for run in runs], runs[0]['eval']['images'],
                min(run['train']['seconds'] for run in runs),
                max(run['train']['planned_bytes'] for run in runs) / 1e6,
                max(run['train']['peak_rss_bytes'] for run in runs) / 1e6,
                *(100 * mean(run['eval'][key] for run in runs)
                  for key in ('ece', 'ece_by_chance')))
    return found


# ---- Tables -----------------------------------------------------------------------------------

def network_rows(found, network):
    for method in METHODS:
        here = [found.get(Cell(network, method, image_set)) for image_set in SETS]
        runs = [one for one in here if one]
        if runs:
            yield [f'`{method}`', *[spread(one.top1) if one else '' for one in here],
                   f'{mean(mean(one.top1) for one in runs):.1f}',
                   f'{max(one.planned for one in runs):.1f}', f'{max(one.peak for one in runs):.1f}',
                   f'{mean(one.seconds for one in runs):.0f}']
        if (network, method) in PYTORCH:
            published = PYTORCH[network, method]
            yield [f'`{method}`, PyTorch', *[published.get(one, '') for one in SETS], '', '', '', '']


def network_sections(found):
    for network, size in SIZES.items():
        if any(cell.network == network for cell in found):
            yield f'### {network} at {size} px\n'
            yield table(['method', *[f'{one}:' for one in SETS], 'mean:', 'planned MB:', 'MB:',
                         'seconds:'], network_rows(found, network))


def few_rows(found):
    for image_set in FEW_SETS:
        for shots in SHOTS:
            here = [found.get(Cell(FEW_NETWORK, method, image_set, shots))
                    for method in FEW_METHODS]
            if any(here):
                yield [image_set, shots, *[spread(one.top1) if one else '' for one in here]]


def cross_rows(results, seeds):
    for method, rates in CROSS.lr.items():
        row = [f'`{method}`', ', '.join(f'{rate:g}' for rate in rates)]
        for side in ('tinytl', 'PyTorch'):
            top1 = [100 * results[run]['eval']['top1'] for seed in seeds
                    if (run := ('cross', (side, method, seed))) in results]
            row.append(spread(top1) if top1 else '')
        yield row


def imagenet_rows(results):
    for weights in IMAGENET_WEIGHTS:
        result = results.get(('imagenet', (weights,)))
        if result:
            top1 = 100 * result['eval']['top1']
            target = [IMAGENET_TARGET, verdict(top1, IMAGENET_TARGET)] \
                if weights == 'int8' else ['', '']
            yield [f'tinytl, {weights}', f'{top1:.1f}', f'{100 * result["eval"]["top5"]:.1f}',
                   *target]
    yield ['PyTorch, float32 (published with the test data)', IMAGENET_PYTORCH, '', '', '']


# ---- Figures to reach -------------------------------------------------------------------------

def pairs(found, method, other):
    """Cells of all pictures under two methods, where both were run."""
    return [(one, found[cell._replace(method=other)]) for cell, one in found.items()
            if cell.method == method and not cell.shots and cell._replace(method=other) in found]


def noise(one, other):
    """One standard error of the difference of two accuracies, in points, each over its seeds."""
    return sum(mean(x.top1) * (100 - mean(x.top1)) / x.images / len(x.top1)
               for x in (one, other)) ** 0.5


def difference(one, other):
    """Points by which one is above the other, over the seeds of both; None: they share none."""
    both = [top1 - other.top1[other.seeds.index(seed)]
            for seed, top1 in zip(one.seeds, one.top1) if seed in other.seeds]
    return mean(both) if both else None


def against_full(found):
    both = [(one, full) for one, full in pairs(found, 'lite+bias', 'full')
            if difference(one, full) is not None]
    if both:
        gain = mean(difference(one, full) for one, full in both)
        shares = [one.peak / full.peak for one, full in both]
        planned = max(one.planned / full.planned for one, full in both)
        yield [f'`lite+bias` against `full`, mean of {len(both)} cells, points',
               f'-{FULL_MARGIN} (aim: 0)', f'{gain:+.2f}', verdict(gain, -FULL_MARGIN)]
        yield ['its memory as a share of `full`\'s, the whole process, mean of the cells (largest; '
               'largest of what is planned)', f'{FULL_MEMORY}',
               f'{mean(shares):.2f} ({max(shares):.2f}; {planned:.2f})',
               'yes' if mean(shares) <= FULL_MEMORY else '**no**']


def lost_by_auto(found, chosen, methods):
    """Points by which `auto` is below the best of these methods, over the same cells; None: none of
    them was run on all."""
    rivals = []
    for method in methods:
        others = [found.get(one.cell._replace(method=method)) for one in chosen]
        if all(others):
            rivals.append(mean(mean(other.top1) for other in others))
    return max(rivals) - mean(mean(one.top1) for one in chosen) if rivals else None


def of_auto(found):
    chosen = [one for cell, one in found.items() if cell.method == 'auto' and not cell.shots]
    by_set = [(one, [auto for auto in chosen if auto.cell.image_set == one]) for one in SETS]
    by_cell = [(f'{one.cell.network}, {one.cell.image_set}', [one]) for one in chosen]
    own = ('last', 'bias', 'lite+bias')
    for which, title, methods, groups in (
            ('method', 'sets, in the mean over their backbones', METHODS[:-1], by_set),
            ('method of its own', 'sets, in the mean over their backbones', own, by_set),
            ('method of its own', 'cells', own, by_cell)):
        losses = [(lost, name) for name, group in groups
                  if group and (lost := lost_by_auto(found, group, methods)) is not None]
        if losses:
            lost, name = max(losses)
            yield [f'`auto` below the best {which}, worst of {len(losses)} {title} ({name}), points',
                   f'{AUTO_MARGIN}', f'{lost:.2f}', 'yes' if lost <= AUTO_MARGIN else '**no**']
    below = [one for one, last in pairs(found, 'auto', 'last')
             if mean(one.top1) < mean(last.top1) - noise(one, last)]
    if pairs(found, 'auto', 'last'):
        yield ['`auto` below `last` by more than a standard error, cells', 0, len(below),
               'yes' if not below else '**no**']


def of_signs(found):
    signs = {network: found.get(Cell(network, 'lite+bias', 'gtsrb43'))
             for network in ('mcunet-5fps', 'MobileNetV2-1.0')}
    small, large = signs.values()
    if small:
        top1 = mean(small.top1)
        yield ['gtsrb43, mcunet-5fps, `lite+bias`', SIGNS_TARGET, f'{top1:.1f}',
               verdict(top1, SIGNS_TARGET)]
    if small and large:
        yield ['gtsrb43, MobileNetV2-1.0 at 224, `lite+bias`', f'above {mean(small.top1):.1f}',
               f'{mean(large.top1):.1f}', 'yes' if mean(large.top1) > mean(small.top1) else '**no**']


def goal_rows(found, results):
    yield from against_full(found)
    yield from of_auto(found)
    yield from of_signs(found)
    whole = [one for cell, one in found.items() if not cell.shots]
    if whole:
        met = sum(one.ece <= CALIBRATION_TARGET for one in whole)
        yield [f'cells with a calibration error of at most {CALIBRATION_TARGET:g} points',
               f'{len(whole)}', f'{met}', 'yes' if met == len(whole) else '**no**']
        ece, by_chance = mean(one.ece for one in whole), mean(one.by_chance for one in whole)
        yield ['calibration error, mean of these cells (what chance alone makes), points',
               f'{CALIBRATION_TARGET:g}', f'{ece:.1f} ({by_chance:.1f})',
               'yes' if ece <= CALIBRATION_TARGET else '**no**']
    default = results.get(('default', (DEFAULT_NETWORK, DEFAULT_SET)))
    if default:
        seconds = default['train']['seconds']
        yield [f'the whole default run on {DEFAULT_SET} with {DEFAULT_NETWORK}, both cores, seconds',
               DEFAULT_SECONDS, f'{seconds:.0f}', 'yes' if seconds <= DEFAULT_SECONDS else '**no**']


def calibration_rows(found):
    for network in SIZES:
        for method in METHODS:
            here = [found.get(Cell(network, method, image_set)) for image_set in SETS]
            if any(here):
                yield [network, f'`{method}`',
                       *[f'{one.ece:.1f} ({one.by_chance:.1f})' if one else '' for one in here]]


def accuracy(results, seeds, info):
    """The whole page. results: what made a run -> its result."""
    found = averages(results, seeds)
    sets = [f'{one}:' for one in SETS]
    sections = [
        '# Results\n', 'Made by `bench/accuracy.py`; see `bench/README.md`.\n',
        machine_lines(info)
        + ''.join(f'- SHA-256 of the program of {n} runs: `{sha256}`\n'
                  for sha256, n in info['programs'].most_common()) +
        f'- Command: `{info["command"]}`\n'
        f'- Runs: {info["runs"]} of {info["wanted"]}; a cell without a figure was not run\n',
        '## Figures to reach\n', table(['', 'wanted:', 'measured:', 'met'],
                                       goal_rows(found, results)),
        '## Transfer to new pictures\n', ABOUT,
        '![Accuracy against memory](results.svg)\n', *network_sections(found), PYTORCH_NOTE,
        f'## Few pictures: {FEW_NETWORK}\n', FEW,
        table(['set', 'pictures a class:', *[f'`{one}`:' for one in FEW_METHODS]],
              few_rows(found)),
        f'## The same training in PyTorch: {CROSS.network} on {CROSS.image_set}, '
        f'{CROSS.epochs} epochs\n', CROSS_NOTE,
        table(['method', 'rates: classifier, biases, weights', 'tinytl:',
               f'PyTorch {info["torch"]}:'.replace(' :', ':')], cross_rows(results, seeds)),
        '## Calibration error\n',
        'Expected calibration error (15 bins) on the test pictures, after the temperature of the '
        'validation\npictures, in points; in brackets what it would be, in the mean, if every '
        'probability were exact.\n',
        table(['backbone', 'method', *sets], calibration_rows(found)),
        '## Weights in 8 bits\n',
        'MobileNetV2-1.0 from its TFLite file, the 1,000 pictures of `imagenet-1k-sample`, in %.\n',
        table(['', 'top-1:', 'top-5:', 'target:', 'met'], imagenet_rows(results)),
        'Speed: [performance.md](performance.md). Memory: [memory.md](memory.md).\n']
    return '\n'.join(sections)
