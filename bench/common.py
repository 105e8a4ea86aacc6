"""What the measuring scripts share: where things lie, how a command is run, what the machine is."""
import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
WEIGHTS = {'MobileNetV2-1.0': 'mobilenet_v2_1.0_224.safetensors',
           'mcunet-5fps': 'mcunet-5fps.safetensors', 'mbv2-w0.35': 'mbv2-w0.35.safetensors',
           'proxyless-w0.3': 'proxyless-w0.3.safetensors'}


def add_paths(parser):
    """The options --tinytl and --data."""
    parser.add_argument('--tinytl', type=Path, default=SOURCE / 'build' / 'tinytl',
                        help='program to measure (default: build/tinytl)')
    parser.add_argument('--data', type=Path,
                        default=os.environ.get('TINYTL_DATA', SOURCE.parent / 'shared' / 'data'),
                        help='test data (default: $TINYTL_DATA, else ../shared/data)')


def run_json(command):
    """Runs a command; the objects of its JSON Lines on stdout."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f'{" ".join(map(str, command))}: exit code {done.returncode}\n'
                         f'{done.stderr.strip()}')
    return [json.loads(line) for line in done.stdout.splitlines()]


def import_backbone(tinytl, source, folder, weights='int8'):
    """The path of the backbone that 'tinytl import' makes of a file."""
    path = Path(folder) / f'{source.stem}-{weights}.safetensors'
    run_json([tinytl, 'import', source, '--weights', weights, '-o', path, '--json'])
    return path


def cpu_model():
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        text = ''
    found = re.search(r'^(?:model name|Model|uarch)\s*:\s*(.+)$', text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()


def compiler(tinytl):
    """What the compiler left in the program's .comment section."""
    found = re.findall(rb'(?:GCC: |clang version )[^\0]*', tinytl.read_bytes())
    # A clang build has gcc's mark as well, from the C library's start files.
    found.sort(key=lambda mark: not mark.startswith(b'clang'))
    return found[0].decode(errors='replace').replace('GCC:', 'gcc') if found else 'not known'


def machine(tinytl):
    """Program and machine now, as the text that stands beside every figure."""
    version = subprocess.run([str(tinytl), '--version'], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    return {'program': version, 'compiler': compiler(tinytl),
            'cpu': f'{cpu_model()}, {cores} cores, {platform.machine()}',
            'load': f'{os.getloadavg()[0]:.1f}', 'date': datetime.date.today().isoformat()}
