"""The measured section of docs/memory.md, from results alone: nothing here is measured."""
from typing import NamedTuple, Optional

from report import machine_lines, table

BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'


class Row(NamedTuple):
    """One kind of run, and what it should take."""
    title: str
    method: str
    optimizer: Optional[str]
    batch: int
    size: int
    reach: str  # MB
    aim: str
    pytorch: str  # peak MB of the same job in PyTorch


ROWS = (Row('`bias`', 'bias', None, 8, 224, '12', '8', '985'),
        Row('`lite+bias`, adam8', 'lite+bias', 'adam8', 8, 224, '30', '16', ''),
        Row('`lite+bias`, Adam fp32', 'lite+bias', 'adam', 8, 224, '42', '', '1039'),
        Row('320 px, `lite+bias`, adam8', 'lite+bias', 'adam8', 8, 320, '36', '20', ''),
        Row('batch 64, `bias`', 'bias', None, 64, 224, '', '', ''),
        Row('batch 64, `lite+bias`, adam8', 'lite+bias', 'adam8', 64, 224, '', '', ''))

PEAKS = """\
Peak resident size of the whole process in MB (10^6 bytes), the larger of what the process reports (`VmHWM`)
and what was seen of it from outside:
ProxylessNAS-Mobile with random weights, int8, 102 classes, 102 JPEG pictures of 500 x 375 to train on and 8
for validation, two epochs, a thread a core. *Reach* and *aim* are what this project set
itself. *Free*: without a limit. *Smallest limit*: the smallest that `train` says would do, what ran under it,
and what it gave up for it.
"""
PEAKS_END = """\
*Paper's model*: the theoretical figure of TinyTL, section 4.1, with lite modules as in its tables. It counts
neither gradients nor moments nor the process. *PyTorch*: the whole process on the same job, measured before on
the project's reference machine, not in this run.
"""
MATRIX = """\
How much more than planned, in % of the plan: (measured peak - size at the start) / planned - 1. Without limits; 8
classes of three pictures. Within 5 % is asked for.
"""
LIMITS = """\
Measured peaks under limits, from the smallest that `train` says would do to 2.2 times that. *Least room*: limit -
measured peak in the worst run. *Used*: measured peak / limit.
"""


def megabytes(nbytes):
    return f'{nbytes / 1e6:.1f}'


def peak(run):
    """VmHWM counts in batches for each processor and lags behind; a count of pages from outside is
    exact, but may miss the peak."""
    return max(run['peak_rss_bytes'], run['seen_rss_bytes'])


def excess(run):
    """Measured beyond planned, as a share of the plan."""
    return (peak(run) - run['base_rss_bytes']) / run['planned_bytes'] - 1


def given_up(run):
    names = {'defers_gradients': 'deferred', 'recomputes': 'recomputed', 'spills': 'spilled'}
    return ', '.join([run['optimizer'], *(name for key, name in names.items() if run[key])])


def peak_row(row, result):
    free, least = result['free'], result['least']
    return [row.title, megabytes(result['paper']), row.pytorch, row.reach, row.aim,
            megabytes(free['base_rss_bytes'] + free['planned_bytes']),
            megabytes(peak(free)), megabytes(least['limit']),
            megabytes(peak(least)), given_up(least)]


def batch_lines(results):
    """Batch 64 over batch 8, for each row of batch 64."""
    for row, result in zip(ROWS, results):
        if row.batch == 8:
            continue
        same = results[ROWS.index(next(other for other in ROWS if other.batch == 8 and
                                       other[1:3] == row[1:3] and other.size == row.size))]
        changes = [100 * (peak(result[kind]) / peak(same[kind]) - 1)
                   for kind in ('free', 'least')]
        yield (f'- Batch 64 against batch 8, {row.title.partition(", ")[2]}: '
               f'{changes[0]:+.1f} % free (reach: 1 %), {changes[1]:+.1f} % under the smallest '
               f'limits; the paper\'s model x {result["paper"] / same["paper"]:.1f}.\n')


def matrix_rows(matrix):
    methods, sizes, threads, batches = (list(dict.fromkeys(column)) for column in zip(*matrix))
    columns = [(n, batch) for batch in batches for n in threads]
    header = ['', 'planned, batch 8, MB:',
              *(f'batch {batch}, {n} thread{"s" * (n > 1)}:' for n, batch in columns)]
    rows = [[f'`{method}`, {size} px', megabytes(matrix[method, size, 1, 8]['planned_bytes']),
             *(f'{100 * excess(matrix[method, size, n, batch]):+.1f}' for n, batch in columns)]
            for method in methods for size in sizes]
    return table(header, rows)


def limit_row(title, runs):
    room = [run['limit'] - peak(run) for run in runs]
    used = [100 * peak(run) / run['limit'] for run in runs]
    limits = [run['limit'] for run in runs]
    return [title, len(runs), f'{megabytes(min(limits))} to {megabytes(max(limits))}',
            sum(one < 0 for one in room), f'{min(room) / 1e6:.2f}',
            f'{min(used):.0f} to {max(used):.0f}']


def disagreement(runs):
    """What the process said of its peak against what was seen from outside, MB: smallest, largest."""
    differences = [(run['peak_rss_bytes'] - run['seen_rss_bytes']) / 1e6 for run in runs]
    return f'{min(differences):+.2f} to {max(differences):+.2f} MB'


def page(info, peaks, matrix, limits):
    """peaks: a result for each of ROWS; matrix: (method, size, threads, batch) -> run; limits: title
    -> runs, None where there was no run."""
    bounded = [run for runs in limits.values() for run in runs]
    every = [*bounded, *matrix.values(), *(result[kind] for result in peaks
                                           for kind in ('free', 'least'))]
    worst = max(matrix, key=lambda key: abs(excess(matrix[key])))
    return '\n'.join([
        machine_lines(info) + f'- SHA-256 of the program: `{info["sha256"]}`\n'
        '- Command: `bench/memory.py --out docs/memory.md`\n',
        '### Whole runs\n', PEAKS,
        table(['', 'paper\'s model:', 'PyTorch:', 'reach:', 'aim:', 'free, planned:',
               'free, measured:', 'smallest limit:', 'measured:', 'given up'],
              [peak_row(row, result) for row, result in zip(ROWS, peaks)]),
        PEAKS_END, ''.join(batch_lines(peaks)),
        '### Plan and process\n', MATRIX, matrix_rows(matrix),
        f'Furthest off: {100 * excess(matrix[worst]):+.1f} % at `{worst[0]}`, {worst[1]} px, '
        f'threads {worst[2]}, batch {worst[3]}. Outside 5 %: '
        f'{sum(abs(excess(run)) > 0.05 for run in matrix.values())} of {len(matrix)} runs.\n',
        '### Limits\n', LIMITS,
        table(['', 'runs:', 'limits, MB:', 'over the limit:', 'least room, MB:', 'used, %:'],
              [limit_row(title, runs) for title, runs in limits.items()]),
        f'Over the limit: {sum(peak(run) > run["limit"] for run in bounded)} of '
        f'{len(bounded)} runs. In the {len(every)} runs of this page, the peak that the process '
        f'reports is {disagreement(every)} from the most that was seen from outside (resident '
        'pages, counted every 5 ms).\n'])
