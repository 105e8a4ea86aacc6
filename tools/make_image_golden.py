#!/usr/bin/env python3
"""Makes tests/golden/image with Pillow: synthetic pictures and what Pillow makes of them.

    python tools/make_image_golden.py            writes the golden files
    python tools/make_image_golden.py compare FILE.rgb SIZE RESIZE PICTURE...
                                                 compares pictures that tinytl decoded, one after
                                                 another in FILE.rgb, with Pillow's

resize.bin   records: int32 width, height; float32 box[4]; int32 out_width, out_height;
             the picture, the expected output, uint8 [height][width][3]
colour.bin   records: float32 brightness, contrast, saturation; int32 n_pixels; picture, output
*.jpg, *.png pictures, each with NAME.rgb: int32 size, resize; uint8 [size][size][3], the centre
             crop of the upright picture
All little-endian.
"""

import pathlib
import struct
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/image"


def picture(width, height, seed=0):
    """Smooth colours, one hard edge, and a little noise: every side of a filter's behaviour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1),
                    127 + 127 * np.sin(x / 3 + y / 5)], axis=-1)
    rgb[height // 3: height // 2, width // 4: width // 2] = (250, 20, 120)
    rgb += rng.normal(0, 12, rgb.shape)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def centre_crop(image, size, resize):
    """torchvision's Resize(resize) and CenterCrop(size), on the upright picture."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    w, h = image.size
    out = (resize, int(resize * h / w)) if w <= h else (int(resize * w / h), resize)
    image = image.resize(out, Image.BILINEAR)
    left, top = round((out[0] - size) / 2.0), round((out[1] - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def make_resize():
    cases = [  # width, height, box (None: all), out
        (37, 23, None, (37, 23)), (37, 23, None, (16, 16)), (37, 23, None, (9, 31)),
        (37, 23, None, (64, 48)), (64, 48, None, (32, 24)), (64, 48, None, (7, 5)),
        (61, 47, None, (1, 1)), (1, 1, None, (13, 11)), (1, 40, None, (8, 8)),
        (40, 1, None, (8, 8)), (53, 29, (3.25, 2.5, 47.75, 26.0), (24, 24)),
        (53, 29, (10, 5, 21, 16), (32, 32)), (53, 29, (0.5, 0, 52.5, 29), (17, 29)),
        (50, 40, None, (49, 39)), (2, 2, None, (5, 3)),
    ]
    with open(OUT / "resize.bin", "wb") as f:
        for i, (w, h, box, out) in enumerate(cases):
            image = picture(w, h, i)
            box = box or (0, 0, w, h)
            f.write(struct.pack("<2i4f2i", w, h, *box, *out))
            f.write(image.tobytes())
            f.write(image.resize(out, Image.BILINEAR, box=box).tobytes())


def make_colour():
    with open(OUT / "colour.bin", "wb") as f:
        factors = [(1, 1, 1), (0.6, 1, 1), (1.7, 1, 1), (1, 0.5, 1), (1, 1.8, 1), (1, 1, 0),
                   (1, 1, 1.9), (1.25, 0.75, 1.5), (0.3, 1.4, 0.2)]
        for i, (b, c, s) in enumerate(factors):
            image = picture(20, 16, 100 + i)
            f.write(struct.pack("<3fi", b, c, s, 20 * 16))
            f.write(image.tobytes())
            for enhance, factor in ((ImageEnhance.Brightness, b), (ImageEnhance.Contrast, c),
                                    (ImageEnhance.Color, s)):
                image = enhance(image).enhance(float(np.float32(factor)))
            f.write(image.tobytes())


def make_files():
    def save(name, image, size=24, resize=28, **options):
        path = OUT / name
        image.save(path, **options)
        with Image.open(path) as again:
            expected = centre_crop(again, size, resize).tobytes()
        path.with_name(name + ".rgb").write_bytes(struct.pack("<2i", size, resize) + expected)

    wide, tall = picture(47, 33, 7), picture(33, 47, 8)
    save("wide.jpg", wide, quality=90)
    save("tall.jpg", tall, quality=90)
    save("444.jpg", wide, quality=90, subsampling=0)
    save("progressive.jpg", wide, quality=90, progressive=True)
    save("grey.jpg", wide.convert("L"), quality=90)
    save("cmyk.jpg", wide.convert("CMYK"), quality=90)
    save("upscaled.jpg", picture(9, 7, 9), quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation{orientation}.jpg", wide, quality=90, exif=exif)
    save("rgb.png", wide)
    save("rgba.png", Image.merge("RGBA", (*wide.split(), wide.convert("L"))))
    save("grey.png", wide.convert("L"))
    save("grey_alpha.png", Image.merge("LA", (wide.convert("L"), tall.resize(wide.size).convert("L"))))
    save("bilevel.png", wide.convert("1"))
    save("palette.png", wide.quantize(61))
    save("palette4.png", wide.quantize(13))
    save("palette_transparent.png", wide.quantize(61), transparency=3)


def compare(file, size, resize, paths):
    n = size * size * 3
    data = np.fromfile(file, np.uint8)
    worst = {}
    for i, path in enumerate(paths):
        expected = np.frombuffer(centre_crop(Image.open(path), size, resize).tobytes(), np.uint8)
        difference = np.abs(expected.astype(int) - data[i * n:(i + 1) * n].astype(int))
        worst[path] = difference.max(), difference.mean()
    largest = max(worst, key=lambda path: worst[path][0])
    print(f"{len(paths)} pictures, largest difference {worst[largest][0]} ({largest}), "
          f"mean {np.mean([mean for _, mean in worst.values()]):.5f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        compare(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
    else:
        OUT.mkdir(parents=True, exist_ok=True)
        make_resize()
        make_colour()
        make_files()
