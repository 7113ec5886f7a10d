#!/usr/bin/env python3
"""Writes the images of this folder and expected.npz: their pixels by Pillow and by the reference's preprocessing.

usage: make.py GOLDEN_IMAGE_DIR        (needs Pillow 13, NumPy and libturbojpeg.so.0; run it in this folder)
"""
import ctypes
import sys
import numpy as np
from PIL import Image, ImageOps

photo = Image.open(f"{sys.argv[1]}/astronaut_300x211.png").convert("RGB").crop((90, 10, 191, 85))
gray = photo.convert("L")
alpha = Image.fromarray((np.indices((75, 101)).sum(0) % 256).astype(np.uint8))
opaque = {}


def save(name, im, **kw):
    im.save(name, **kw)
    opaque[name] = None


for sub, q in (("4:4:4", 90), ("4:2:2", 85), ("4:2:0", 75)):
    save(f"rgb_{sub.replace(':', '')}.jpg", photo, quality=q, subsampling=sub)
save("rgb_420_progressive.jpg", photo, quality=80, progressive=True)
save("rgb_420_narrow.jpg", photo.crop((30, 20, 34, 60)), quality=80)
save("rgb_stored.jpg", photo, quality=90, keep_rgb=True)
save("gray.jpg", gray, quality=80)
save("cmyk.jpg", photo.convert("CMYK"), quality=90)
save("rgb.bmp", photo)
save("palette.bmp", photo.quantize(200))
save("rgb.webp", photo, lossless=True, quality=30)
save("lossy.webp", photo, quality=80)
save("lossy_even.webp", photo.crop((20, 0, 84, 48)), quality=60)
save("palette.png", photo.quantize(64))
save("palette_4bit.png", photo.quantize(13), bits=4)
save("palette.gif", photo.quantize(100))
save("gray.gif", gray)
save("bilevel.png", photo.convert("1"))
save("gray_alpha_opaque.png", Image.merge("LA", (gray, Image.new("L", gray.size, 255))))
save("rgba_opaque.png", photo.convert("RGBA"))

# Since 13.0.0 Pillow scales the height first where it loses more than twice as many rows as columns.
astronaut = Image.open(f"{sys.argv[1]}/astronaut_300x211.png").convert("RGB")
for name, w, h in (("tall_even", 24, 72), ("tall_odd", 25, 83), ("tall_twice", 36, 72), ("tall_over_twice", 36, 74)):
    save(f"{name}.png", astronaut.crop((110, 20, 110 + w, 20 + h)))
save("tall_gray.png", astronaut.convert("L").crop((110, 20, 149, 140)))
save("tall_cmyk.jpg", astronaut.convert("CMYK").crop((110, 20, 136, 100)), quality=80)


def turbo(name, im, subsampling, quality=85):
    """Writes formats that Pillow cannot write: YCCK, and colour planes halved or quartered in one direction."""
    lib = ctypes.CDLL("libturbojpeg.so.0")
    lib.tjInitCompress.restype = ctypes.c_void_p
    pixels = np.array(im.convert(im.mode))
    out, n = ctypes.c_void_p(), ctypes.c_ulong()
    status = lib.tjCompress2(ctypes.c_void_p(lib.tjInitCompress()), pixels.ctypes.data_as(ctypes.c_void_p), im.width, 0, im.height,
                             {"RGB": 0, "CMYK": 11}[im.mode], ctypes.byref(out), ctypes.byref(n), subsampling, quality, 0)
    assert status == 0
    open(name, "wb").write(ctypes.string_at(out, n.value))
    opaque[name] = None


turbo("rgb_440.jpg", photo, 4)
turbo("rgb_411.jpg", photo, 5)
turbo("ycck.jpg", Image.eval(photo.convert("CMYK"), lambda v: 255 - v), 0)
turbo("ycck_420.jpg", Image.eval(photo.convert("CMYK"), lambda v: 255 - v), 2)

exif = Image.Exif()
for o in range(1, 9):
    exif[0x0112] = o
    save(f"exif_{o}.png", photo.crop((40, 10, 71, 34)), exif=exif)
exif[0x0112] = 6
save("exif_6.jpg", photo, exif=exif, subsampling="4:4:4", quality=95)
save("exif_8.webp", photo, exif=exif, lossless=True)


def reference(im, size):
    while min(*im.size) >= 2 * size:
        im = im.resize(tuple(x // 2 for x in im.size), resample=Image.BOX)
    scale = size / min(*im.size)
    im = im.resize(tuple(round(x * scale) for x in im.size), resample=Image.BICUBIC)
    a = np.array(im.convert("RGB"))
    y, x = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    return a[y:y + size, x:x + size]


expected = {}
for name in opaque:
    im = Image.open(name)
    im.load()
    if name.startswith("exif"):
        im = ImageOps.exif_transpose(im)
        expected[f"{name}@whole"] = np.array(im.convert("RGB"))
        continue
    expected[f"{name}@whole"] = np.array(im.convert("RGB"))
    for size in (9, 20) if name.startswith("tall") else (9, 40, 80):
        expected[f"{name}@{size}"] = reference(im, size)

# Transparent images are composited on a colour, which is undefined in the reference.
rgba = photo.copy()
rgba.putalpha(alpha)
rgba.save("rgba.png")
rgba.save("rgba.webp", lossless=True)
rgba.save("rgba_lossy.webp", quality=80)
for name in ("rgba.png", "rgba.webp", "rgba_lossy.webp"):
    over = Image.new("RGBA", rgba.size, (200, 30, 60, 255))
    over.alpha_composite(Image.open(name).convert("RGBA"))
    expected[f"{name}@whole"] = np.array(over.convert("RGB"))
wide = np.array(gray).astype(np.uint16) * 256 + 77
Image.fromarray(wide).save("gray16.png")
expected["gray16.png@whole"] = np.array(gray.convert("RGB"))
np.savez_compressed("expected.npz", **expected)
