"""What the plots of docs/ share: words, and steps of an axis, as SVG elements."""
import math


def nice(step):
    """The next 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return next(unit * power for unit in (1, 2, 5, 10) if unit * power >= step * 0.999)


def text(x, y, words, anchor='middle', size=11, colour='#333'):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}">{words}</text>')


def write(path, width, height, elements):
    """Writes the file: the elements on white."""
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'viewBox="0 0 {width} {height}" font-family="sans-serif">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>', *elements, '</svg>', '']
    path.write_text('\n'.join(lines), encoding='utf-8')
