#!/usr/bin/env python3
"""Writes the images of this folder, in rare formats, and expected.npz: their pixels by Pillow and by the reference's
preprocessing.

usage: make.py GOLDEN_IMAGE_DIR        (needs Pillow 13, NumPy and cjpeg of libjpeg-turbo 2; run it in this folder)
"""
import io
import struct
import subprocess
import sys
import numpy as np
from PIL import Image

photo = Image.open(f"{sys.argv[1]}/astronaut_300x211.png").convert("RGB").crop((100, 20, 151, 57))
W, H = photo.size
rgb = np.array(photo).astype(np.uint32)
alpha = (np.indices((H, W)).sum(0) * 3 % 256).astype(np.uint8)
rgba = photo.copy()
rgba.putalpha(Image.fromarray(alpha))
names = []


def put(name, data):
    with open(name, "wb") as f:
        f.write(data)
    names.append(name)


# BMP

def bmp(name, bits, pixels, header=40, compression=0, masks=(), palette=b"", top_down=False, pad=True):
    if header == 12:
        head = struct.pack("<IHHHH", 12, W, H, 1, bits)
    else:
        colours = len(palette) // 4 if bits <= 8 else 0
        head = struct.pack("<IiiHHIIiiII", header, W, -H if top_down else H, 1, bits, compression, len(pixels), 2835, 2835, colours, 0)
        head += b"".join(struct.pack("<I", m) for m in masks)
        head = head.ljust(header, b"\0")
    offset = 14 + len(head) + len(palette)
    put(name, b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + head + palette + pixels)


def rows(array, top_down=False, pad=True):
    lines = [r.tobytes() for r in (array if top_down else array[::-1])]
    return b"".join(r + b"\0" * (-len(r) % 4) for r in lines[:-1]) + lines[-1] + (b"\0" * (-len(lines[-1]) % 4) if pad else b"")


def packed(r, g, b):
    """16-bit pixels of r, g and b bits, red highest."""
    value = (rgb[..., 0] >> (8 - r)) << (g + b) | (rgb[..., 1] >> (8 - g)) << b | rgb[..., 2] >> (8 - b)
    return value.astype("<u2")


bgr = np.ascontiguousarray(rgb[..., ::-1]).astype(np.uint8)
bmp("rgb555.bmp", 16, rows(packed(5, 5, 5)))
bmp("rgb555_bitfields.bmp", 16, rows(packed(5, 5, 5)), compression=3, header=40, masks=(0x7C00, 0x3E0, 0x1F))
bmp("rgb565.bmp", 16, rows(packed(5, 6, 5)), compression=3, masks=(0xF800, 0x7E0, 0x1F))
bmp("rgb565_v3.bmp", 16, rows(packed(5, 6, 5)), compression=3, header=56, masks=(0xF800, 0x7E0, 0x1F, 0))
bmp("rgb565_topdown.bmp", 16, rows(packed(5, 6, 5), True), compression=3, masks=(0xF800, 0x7E0, 0x1F), top_down=True)
bmp("rgb24_os2.bmp", 24, rows(bgr), header=12)
bmp("rgb24_os2v2.bmp", 24, rows(bgr), header=64)
bmp("rgb24_no_padding.bmp", 24, rows(bgr, pad=False))
value = (rgb[..., 0] << 24 | rgb[..., 1] << 16 | rgb[..., 2] << 8 | alpha).astype("<u4")
bmp("rgb32_xbgr.bmp", 32, rows(value), compression=3, masks=(0xFF000000, 0xFF0000, 0xFF00))
bmp("rgba32_v4.bmp", 32, rows(value), compression=3, header=108, masks=(0xFF000000, 0xFF0000, 0xFF00, 0xFF))
bmp("rgb32_zero_alpha.bmp", 32, rows((value >> 8).astype("<u4")))
colours = photo.quantize(200)
palette = np.array(colours.getpalette()).reshape(-1, 3)[:, ::-1].astype(np.uint8)
grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
four = lambda p: np.pad(p, ((0, 0), (0, 1))).tobytes()
index8, index_grey = np.array(colours), np.array(photo.convert("L"))
few = photo.quantize(13)
index4 = np.array(few)
palette4 = np.array(few.getpalette()).reshape(-1, 3)[:, ::-1].astype(np.uint8)[:16]
palette4 = np.pad(palette4, ((0, 16 - len(palette4)), (0, 0)))
full = np.pad(palette, ((0, 256 - len(palette)), (0, 0)))
bmp("palette8_os2.bmp", 8, rows(index8), header=12, palette=full.tobytes())
bmp("palette8_topdown.bmp", 8, rows(index8, True), palette=four(full), top_down=True)
bmp("grey8.bmp", 8, rows(index_grey), palette=four(grey))
bmp("bilevel.bmp", 1, rows(np.packbits(index_grey > 100, axis=1)), palette=b"\0\0\0\0\xff\xff\xff\0")
bmp("bilevel_colours.bmp", 1, rows(np.packbits(index_grey > 100, axis=1)), palette=b"\x80\0\0\0\x20\xff\xff\0")


def runs(line):
    start = 0
    for i in range(1, len(line) + 1):
        if i == len(line) or line[i] != line[start]:
            yield start, i - start
            start = i


def rle8(index, delta=False):
    out = b""
    for y, line in enumerate(index[::-1]):
        if delta and y == 2:  # from the start of line 2 to that of line 4: what is skipped is colour 0
            out += b"\0\2\0\2"
        if delta and y in (2, 3):
            continue
        literal = line[:6].tolist() + line[6:9].tolist()
        out += b"\0\x09" + bytes(literal) + b"\0"
        out += b"".join(bytes([n, line[9 + at]]) for at, n in runs(line[9:])) + b"\0\0"
    return out + b"\0\1"


def rle4(index):
    out = b""
    for line in index[::-1]:
        out += b"\0\5" + bytes([line[0] << 4 | line[1], line[2] << 4 | line[3], line[4] << 4]) + b"\0"
        for at in range(5, W, 2):
            n = min(2, W - at)
            out += bytes([n, line[at] << 4 | (line[at + 1] if n == 2 else 0)])
        out += b"\0\0"
    return out + b"\0\1"


bmp("rle8.bmp", 8, rle8(index8), compression=1, palette=four(full))
bmp("rle8_delta.bmp", 8, rle8(index8, True), compression=1, palette=four(full))
bmp("rle8_grey.bmp", 8, rle8(index_grey), compression=1, palette=four(grey))
bmp("rle4.bmp", 4, rle4(index4), compression=2, palette=four(palette4))

# WebP

u24 = lambda v: struct.pack("<I", v)[:3]


def chunks(im, **how):
    """The chunks of a still WebP image, without VP8X."""
    b = io.BytesIO()
    im.save(b, "WEBP", **how)
    rest, out = b.getvalue()[12:], []
    while rest:
        n = struct.unpack("<I", rest[4:8])[0]
        out.append((rest[:4], rest[8:8 + n]))
        rest = rest[8 + n + n % 2:]
    return [c for c in out if c[0] != b"VP8X"]


def encode(list):
    return b"".join(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in list)


def webp(name, flags, list):
    body = b"WEBP" + encode([(b"VP8X", bytes([flags, 0, 0, 0]) + u24(W - 1) + u24(H - 1))] + list)
    put(name, b"RIFF" + struct.pack("<I", len(body)) + body)


ANIMATED, ALPHA = 2, 16


def animation(name, flags, frames, background=b"\0\0\0\0"):
    list = [(b"ANIM", background + b"\0\0")]
    for x, y, im, how in frames:
        head = u24(x // 2) + u24(y // 2) + u24(im.width - 1) + u24(im.height - 1) + u24(100) + b"\0"
        list.append((b"ANMF", head + encode(chunks(im, **how))))
    webp(name, ANIMATED | flags, list)


lossy, lossless = {"quality": 80}, {"lossless": True}
other = photo.rotate(180)
part, part_alpha = photo.crop((5, 5, 28, 20)), rgba.crop((5, 5, 28, 20))
animation("animated.webp", 0, [(0, 0, photo, lossy), (0, 0, other, lossy)])
animation("animated_lossless.webp", 0, [(0, 0, photo, lossless), (0, 0, other, lossy)])
animation("animated_alpha.webp", ALPHA, [(0, 0, rgba, lossless), (0, 0, other, lossy)])
animation("animated_alpha_lossy.webp", ALPHA, [(0, 0, rgba, lossy), (0, 0, other, lossy)])
animation("animated_part.webp", 0, [(8, 6, part, lossy), (0, 0, other, lossy)], b"\x20\x80\xf0\xff")
animation("animated_part_alpha.webp", ALPHA, [(8, 6, part_alpha, lossless), (0, 0, other, lossy)], b"\x20\x80\xf0\xff")
animation("animated_part_alpha_lossy.webp", ALPHA, [(8, 6, part_alpha, lossy), (0, 0, other, lossy)])
animation("animated_unflagged_alpha.webp", 0, [(8, 6, part_alpha, lossless), (0, 0, other, lossy)])
webp("unflagged_alpha.webp", 0, chunks(rgba, **lossy))
webp("unflagged_alpha_lossless.webp", 0, chunks(rgba, **lossless))
webp("flagged_opaque.webp", ALPHA, chunks(photo, **lossy))

# JPEG

def jpeg(im, *arguments):
    b = io.BytesIO()
    im.save(b, "PPM")
    return subprocess.run(["cjpeg", "-quality", "85", *arguments], input=b.getvalue(), stdout=subprocess.PIPE, check=True).stdout


for factors in ("22,11,12", "31,11,11", "14,11,11", "11,22,22", "22,21,12", "32,12,11"):
    put(f"sampling_{factors.replace(',', '_')}.jpg", jpeg(photo, "-sample", ",".join("x".join(f) for f in factors.split(","))))
put("arithmetic.jpg", jpeg(photo, "-arithmetic"))
put("arithmetic_progressive.jpg", jpeg(photo, "-arithmetic", "-progressive"))


def without_adobe(im, **how):
    b = io.BytesIO()
    im.save(b, "JPEG", quality=90, **how)
    file = b.getvalue()
    at = file.index(b"\xff\xee")
    return file[:at] + file[at + 2 + struct.unpack(">H", file[at + 2:at + 4])[0]:]


cmyk = photo.convert("CMYK")
put("cmyk_no_adobe.jpg", without_adobe(cmyk))
put("cmyk_no_adobe_progressive.jpg", without_adobe(cmyk, progressive=True))

# GIF

def sub_blocks(index):
    """Pixels as 9-bit LZW codes, with a clear code before the table grows."""
    bits = n = 0
    out = bytearray()
    codes = [256]
    for i, v in enumerate(index):
        codes += [256] if i and i % 200 == 0 else []
        codes.append(int(v))
    for code in codes + [257]:
        bits |= code << n
        n += 9
        while n >= 8:
            out.append(bits & 255)
            bits >>= 8
            n -= 8
    out.append(bits & 255)
    return b"\x08" + b"".join(bytes([len(out[i:i + 255])]) + out[i:i + 255] for i in range(0, len(out), 255)) + b"\0"


def gif(name, palette, index, at, control=b""):
    """A frame with a palette of its own on a larger screen."""
    h, w = index.shape
    colours = np.pad(palette, ((0, 256 - len(palette)), (0, 0))).astype(np.uint8).tobytes()
    put(name, b"GIF89a" + struct.pack("<HHBBB", W, H, 0, 0, 0) + control + b"," + struct.pack("<HHHHB", *at, w, h, 0x87) + colours + sub_blocks(index.ravel()) + b";")


inner = index8[4:20, 6:30]
gif("part.gif", palette[:, ::-1], inner, (6, 4))
gif("part_transparent.gif", palette[:, ::-1], inner, (6, 4), control=b"\x21\xf9\4\1\0\0" + bytes([inner[3, 3]]) + b"\0")
gif("grey.gif", grey, index_grey, (0, 0))


def reference(im, size):
    while min(*im.size) >= 2 * size:
        im = im.resize(tuple(x // 2 for x in im.size), resample=Image.BOX)
    scale = size / min(*im.size)
    im = im.resize(tuple(round(x * scale) for x in im.size), resample=Image.BICUBIC)
    a = np.array(im.convert("RGB"))
    y, x = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    return a[y:y + size, x:x + size]


expected = {}
for name in names:
    im = Image.open(name)
    im.load()
    if im.has_transparency_data:  # the reference drops the alpha channel; iddpm composites over a background
        over = Image.new("RGBA", im.size, (200, 30, 60, 255))
        over.alpha_composite(im.convert("RGBA"))
        expected[f"{name}@whole"] = np.array(over.convert("RGB"))
        continue
    expected[f"{name}@whole"] = np.array(im.convert("RGB"))
    expected[f"{name}@20"] = reference(im, 20)
np.savez_compressed("expected.npz", **expected)
