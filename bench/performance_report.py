"""The measured sections of docs/performance.md, from results alone: nothing here is measured."""
from statistics import median
from typing import NamedTuple

from report import machine_lines, spread, table

REFERENCE_PEAK = 232e9  # two threads of the machine that the goals were set on


class Goal(NamedTuple):
    """Pictures a second on the reference machine."""
    title: str
    pytorch: float
    reach: float
    aim: float


GOALS = {('train', 'lite+bias', 8): Goal('`lite+bias` step', 24, 90, 110),
         ('train', 'bias', 8): Goal('`bias` step', 28, 112, 160),
         ('train', 'last', 8): Goal('`last` step, features each time', 105, 220, 300),
         ('train', 'lite+bias', 1): Goal('`lite+bias` step', 15, 85, 110),
         ('predict', None, 1): Goal('inference', 182, 240, 330)}
KERNEL_GOALS = {1: 90, 2: 80}  # % of peak, pointwise

PEERS = """\
MobileNetV2-1.0 at 224 pixels, 10 classes, int8 weights at rest here, two threads, pictures in memory, the two
programs in turn; medians of {rounds} pairs of {seconds:g} s. *Ratio* is tinytl's speed over PyTorch's in one
pair: median (smallest to largest). *Share* is that of the machine's multiply-add peak with two threads that the
arithmetic of the step takes (what its method asks for, forward and backward). *Reach* and *aim* are what this
project set itself, on a machine of 232 GFLOP/s: the same ratio and the same share elsewhere.
"""
WAYS = """\
PyTorch's ways, pictures/s, in short runs; the fastest of each row was paired with tinytl. Denormals are flushed.
A frozen graph is `torch.jit.freeze` and `optimize_for_inference`, for `last` over the features alone.
"""
KERNELS = """\
Milliseconds of one picture through all pointwise or all depthwise layers of the network, each layer alone and
the best of many calls in three rounds; in brackets the share of peak, %. tinytl's times include unpacking int8 weights,
forward also bias, activation and masks; oneDNN's (through PyTorch, batch 1, in the fastest of three layouts for
each layer) are float32, without activation, less what a call costs. *Portable* is the build for any processor of
the architecture. Pointwise is to reach 90 % with one thread and 80 % with two.
"""
PROFILE = """\
Milliseconds for one picture, batch 8, 2 threads unless said: by the clock, while the first lane was at it, over the
pictures of all lanes. *JPEG*: pictures of
500 x 375 in class folders, decoded meanwhile on threads of their own; the others are made in memory. *Before*: an
earlier build, measured in the same run. A convolution's time includes unpacking its weights and its activation.
"""
GROWTH = """\
MobileNetV2-1.0 at 224 pixels, `lite+bias`, batch 8, 10 classes, 2 threads, unless the row says otherwise.
*Planned* is memory beyond what the process holds at its start.

![How cost grows](performance.svg)
"""
START = """\
Pictures are JPEG files in class folders. Start: from the start of the process until the run is planned; every
file's header is read. Planned memory of `last` holds every picture's features.
"""


def megabytes(nbytes):
    return f'{nbytes / 1e6:.1f}'


def number(value):
    """Three digits or so."""
    return f'{value:.0f}' if value >= 99.5 else f'{value:.1f}' if value >= 9.95 else f'{value:.2f}'


def share(run, peak):
    """Of peak, in %."""
    return 100 * 2 * run['macs'] * run['images_per_second'] / peak


def met(value, reach, aim):
    return 'aim' if value >= aim else 'reach' if value >= reach else '**no**'


# ---- Beside PyTorch ----

def peer_row(case, peak):
    goal = GOALS[case['task'], case['method'], case['batch']]
    ours = median(run['images_per_second'] for run in case['tinytl'])
    theirs = median(run['images_per_second'] for run in case['pytorch'])
    flops = 2 * case['tinytl'][0]['macs']
    attained, ratio = 100 * ours * flops / peak, median(case['ratios'])
    ratios = goal.reach / goal.pytorch, goal.aim / goal.pytorch
    shares = [100 * speed * flops / REFERENCE_PEAK for speed in (goal.reach, goal.aim)]
    return [goal.title, case['batch'], number(ours), number(theirs), case['variant'],
            spread(case['ratios'], 2, median), '{:.1f}, {:.1f}'.format(*ratios),
            met(ratio, *ratios), f'{attained:.0f}', '{:.0f}, {:.0f}'.format(*shares),
            met(attained, *shares), megabytes(max(run['peak_rss_bytes'] for run in case['tinytl'])),
            f'{max(run["peak_rss_bytes"] for run in case["pytorch"]) / 1e6:.0f}']


def ways_table(cases):
    ways = list(dict.fromkeys(way for case in cases for way in case['variants']))
    return table(['', *(way + ':' for way in ways)],
                 [[f'{GOALS[case["task"], case["method"], case["batch"]].title}, '
                   f'batch {case["batch"]}',
                   *(number(case['variants'][way]) if way in case['variants'] else ''
                     for way in ways)] for case in cases])


# ---- Kernels ----

def kernel_rows(times, macs, peaks):
    for (kind, direction), work in macs.items():
        row = [f'{kind}, {direction}', f'{work:.1f}']
        for who in ('tinytl', 'oneDNN', 'portable'):
            for threads in (1, 2):
                ms = times.get((who, kind, direction, threads))
                part = 2e6 * work / (1e-3 * ms) / peaks[threads] if ms else 0
                row.append(f'{ms:.2f} ({100 * part:.0f})' if ms else '')
        yield row


def kernel_table(times, macs, peaks):
    whose = [f'{who}, {n} thread{"s" * (n > 1)}:' for who in ('tinytl', 'oneDNN', 'portable')
             for n in (1, 2)]
    return table(['layers', 'million multiply-adds:', *whose], kernel_rows(times, macs, peaks))


# ---- Profile ----

def profile_table(profiles):
    """A column a run, a row a kind of work."""
    cells = {title: {(line['work'], line['direction']): line for line in run['profile']}
             for title, run in profiles.items()}
    kinds = list(dict.fromkeys(kind for column in cells.values() for kind in column))
    kinds.sort(key=lambda kind: kind[1] == 'backward')
    totals = {title: sum(line['seconds'] for line in column.values())
              for title, column in cells.items()}

    def cell(title, kind):
        line = cells[title].get(kind)
        return f'{1e3 * line["seconds"]:.2f} ({100 * line["seconds"] / totals[title]:.0f} %)' \
            if line else ''
    rows = [[work + (', backward' if direction == 'backward' else ''),
             *(cell(title, (work, direction)) for title in profiles)]
            for work, direction in kinds]
    rows.append(['**a picture**', *(f'**{1e3 * totals[title]:.2f}**' for title in profiles)])
    rows.append(['of these, waiting for the other thread',
                 *(f'{1e3 * run["join_seconds"]:.2f} '
                   f'({100 * run["join_seconds"] / totals[title]:.0f} %)'
                   for title, run in profiles.items())])
    rows.append(['joins', *(f'{run["forks"]:.0f}' for run in profiles.values())])
    rows.append(['decoding (or making), on the loader\'s thread',
                 *(f'{1e3 * run["load_seconds"]:.2f}' for run in profiles.values())])
    rows.append(['pictures/s', *(number(run['images_per_second']) for run in profiles.values())])
    return table(['', *(title + ':' for title in profiles)], rows)


def share_table(profiles):
    """Share of peak of the kinds that do arithmetic to speak of."""
    cells = {title: {(line['work'], line['direction']): 100 * line['share_of_peak']
                     for line in run['profile']} for title, run in profiles.items()}
    kinds = list(dict.fromkeys(kind for column in cells.values() for kind in column
                               if column[kind] >= 5))
    kinds.sort(key=lambda kind: kind[1] == 'backward')
    return table(['share of peak, %', *(title + ':' for title in profiles)],
                 [[work + (', backward' if direction == 'backward' else ''),
                   *(f'{cells[title][work, direction]:.0f}' if (work, direction) in cells[title]
                     else '' for title in profiles)] for work, direction in kinds])


def overhead_lines(overheads):
    (one_f, two_f), (one_b, two_b) = overheads['packing forward'], overheads['packing backward']
    return (f'- Unpacking the int8 weights of all pointwise layers once, which every picture pays: '
            f'{one_f:.2f} ms forward and {one_b:.2f} ms backward with one thread, {two_f:.2f} and '
            f'{two_b:.2f} with two.\n'
            f'- Handing a task to the other thread and meeting again: {overheads["fork"]:.1f} us.\n')


# ---- Growth ----

def growth_table(title, runs, peak):
    return table([title + ':', 'pictures/s:', 'share of peak, %:', 'planned, MB:', 'peak RSS, MB:'],
                 [[value, number(run['images_per_second']), f'{share(run, peak):.0f}',
                   megabytes(run['planned_bytes']), megabytes(run['peak_rss_bytes'])]
                  for value, run in runs.items()])


def start_table(pictures):
    return table(['pictures:', 'start, s:', '`lite+bias`, planned, MB:', '`last`, planned, MB:'],
                 [[f'{n:,}', f'{median(run["seconds"] for run in runs.values()):.2f}',
                   *(megabytes(runs[method]['planned_bytes']) for method in ('lite+bias', 'last'))]
                  for n, runs in pictures.items()])


def threads_table(growth):
    rows = [[f'`{method}` step', *runs.values()] for method, runs in growth['threads'].items()]
    rows.append(['inference', *growth['predict'].values()])
    return table(['', '1 thread, pictures/s:', '2 threads:', 'ratio (reach 1.8):'],
                 [[title, *(number(run['images_per_second']) for run in (one, two)),
                   f'{two["images_per_second"] / one["images_per_second"]:.2f}']
                  for title, one, two in rows])


def kernels_table(kernels):
    return table(['kernel set', '`lite+bias` step, pictures/s:', 'inference, pictures/s:',
                  'its own peak, GFLOP/s:'],
                 [[name, *(number(runs[task]['images_per_second']) for task in ('train', 'predict')),
                   f'{runs["train"]["peak_flops"] / 1e9:.0f}'] for name, runs in kernels.items()])


def page(info, cases, times, macs, overheads, profiles, growth):
    peak = info['peak']
    rounds, torch = len(cases[0]['tinytl']), cases[0]['pytorch'][0]['torch']
    header = ['', 'batch:', 'tinytl, pictures/s:', 'PyTorch, pictures/s:', 'PyTorch ran as',
              'ratio:', 'reach, aim:', 'met', 'share of peak, %:', 'reach, aim:', 'met',
              'tinytl, peak MB:', 'PyTorch, peak MB:']
    return '\n'.join([
        *(['**A trial of the script: figures mean nothing.**\n'] if info['quick'] else []),
        machine_lines(info) + f'- Caches of a core: {info["caches"]}\n'
        f'- Multiply-add peak: {peak[1] / 1e9:.0f} GFLOP/s with one thread, {peak[2] / 1e9:.0f} '
        f'with two (kernels {cases[0]["tinytl"][0]["kernels"]})\n- PyTorch: {torch}\n'
        f'- Load average before: {info["load"]}\n- SHA-256 of the program: `{info["sha256"]}`\n'
        '- Command: `bench/performance.py --out docs/performance.md`\n',
        '### Steps and inference beside PyTorch\n',
        PEERS.format(rounds=rounds, seconds=info['seconds']),
        table(header, [peer_row(case, peak[2]) for case in cases]), WAYS, ways_table(cases),
        '### Kernels\n', KERNELS, kernel_table(times, macs, peak),
        '### Where the time goes\n', PROFILE, profile_table(profiles), share_table(profiles),
        overhead_lines(overheads),
        '### How cost grows\n', GROWTH,
        growth_table('side of the picture', growth['size'], peak[2]),
        growth_table('batch', growth['batch'], peak[2]),
        growth_table('classes', growth['classes'], peak[2]),
        START, start_table(growth['pictures']), threads_table(growth),
        kernels_table(growth['kernels'])])
