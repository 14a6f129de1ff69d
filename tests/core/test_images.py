"""Pictures as a viewer shows them: orientation, transparency, depth and profile of real files in several formats."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from shotstream.core.errors import InputError
from shotstream.core.images import as_frame, decode_image, read_image, write_png

QUARTERS = np.zeros((64, 96, 3), np.uint8)
QUARTERS[:32, :48], QUARTERS[:32, 48:], QUARTERS[32:, :48], QUARTERS[32:, 48:] = 10, 90, 170, 250
ORIENTATION = 0x0112
STORED = {  # of EXIF: how upright pixels were stored, so that a viewer who obeys shows them upright again
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_is_shown_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](QUARTERS)))
    image.save(tmp_path / f"a.{kind.lower()}", kind, exif=exif, quality=95)
    shown = read_image(tmp_path / f"a.{kind.lower()}").astype(int)
    assert shown.shape == QUARTERS.shape
    assert np.abs(shown[8::16, 8::16] - QUARTERS[8::16, 8::16]).max() <= 4


def cut_out(mode: str) -> Image.Image:
    """A red square on full transparency, under which lies green."""
    pixels = np.zeros((64, 96, 4), np.uint8)
    pixels[..., 1] = 255
    pixels[16:48, 24:72] = (255, 0, 0, 255)
    image = Image.fromarray(pixels)
    if mode == "P":
        palette = Image.new("P", image.size, 0)
        palette.putpalette([0, 255, 0, 255, 0, 0])
        palette.paste(1, (24, 16, 72, 48))
        palette.info["transparency"] = 0
        return palette
    return image.convert(mode)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGBA")])
def test_transparency_is_shown_on_white(kind: str, mode: str, tmp_path: Path) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    cut_out(mode).save(tmp_path / f"a.{kind.lower()}", kind, transparency=0 if mode == "P" else None, **options)
    shown = read_image(tmp_path / f"a.{kind.lower()}")
    assert (shown[:16] == 255).all()
    assert (shown[16:48, 24:72] == (255, 0, 0)).all()


def test_grey_with_transparency_is_shown_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 2), (0, 64), np.uint8), "LA").save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 191).all()


@pytest.mark.parametrize("value", [0, 0x80FF, 0xFFFF])
def test_sixteen_bits_are_scaled_and_not_cut_off(value: int, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == round(value / 257)).all()


@pytest.mark.parametrize(("colour_type", "pixel"), [(0, (0x1234,)), (2, (0xFFFF, 0x8000, 0))])
def test_a_colour_that_is_transparent_in_sixteen_bits_is_shown_on_white(
    colour_type: int, pixel: tuple[int, ...], tmp_path: Path
) -> None:
    row = b"\0" + struct.pack(f">{2 * len(pixel)}H", *pixel, *[0x4040] * len(pixel))
    header = struct.pack(">IIBBBBB", 2, 1, 16, colour_type, 0, 0, 0)
    transparent = (b"tRNS", struct.pack(f">{len(pixel)}H", *pixel))
    (tmp_path / "a.png").write_bytes(png([(b"IHDR", header), transparent, (b"IDAT", zlib.compress(row))]))
    assert read_image(tmp_path / "a.png").tolist() == [[[255] * 3, [64] * 3]]


@pytest.mark.parametrize(("most", "shown"), [(1.0, 128), (200.0, 100), (60000.0, 117)])
def test_floats_are_scaled_to_the_range_that_holds_them(most: float, shown: int, tmp_path: Path) -> None:
    Image.fromarray(np.float32([[most / 2, most]])).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [shown] * 3


def test_floats_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.float32([[0.5, np.nan]])).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="expected a picture of finite numbers, got NaN or infinity"):
        read_image(tmp_path / "a.tif")


def test_an_image_that_cannot_be_loaded_is_refused() -> None:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "PNG")
    with pytest.raises(InputError, match=r"cannot read the picture: .*cut off or damaged"):
        as_frame(Image.open(io.BytesIO(out.getvalue()[:900])))


def test_a_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "wrong.png", icc_profile=lab)
    assert (read_image(tmp_path / "wrong.png") == 90).all(), "a profile of another kind than the pixels is ignored"
    swapped = profile_with_red_and_blue_swapped()
    Image.new("RGB", (8, 8), (200, 100, 30)).save(tmp_path / "a.png", icc_profile=swapped)
    assert np.abs(read_image(tmp_path / "a.png")[4, 4].astype(int) - (30, 100, 200)).max() <= 2


def profile_with_red_and_blue_swapped() -> bytes:
    """sRGB with the primaries of red and blue exchanged in its table of tags: what it calls red is blue."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack(">I", data[128:132])
    for place in range(132, 132 + 12 * count, 12):
        name = bytes(data[place : place + 4])
        data[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(data)


def test_cmyk_is_shown_in_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg")[4, 4].astype(int) - (255, 0, 0)).max() <= 4


def test_our_own_png_is_exact(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    write_png(tmp_path / "a.png", frame)
    assert np.array_equal(read_image(tmp_path / "a.png"), frame)
    assert np.array_equal(decode_image((tmp_path / "a.png").read_bytes(), ("PNG",)), frame)


def test_a_picture_comes_as_a_path_an_image_or_an_array(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS).save(tmp_path / "a.png")
    for one in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(QUARTERS), QUARTERS, QUARTERS[None]):
        assert np.array_equal(as_frame(one), QUARTERS)
    with pytest.raises(InputError, match=r"expected a picture as a path, a PIL image or .*, got bytes"):
        as_frame(b"picture")
    with pytest.raises(InputError, match="expected one picture"):
        as_frame(np.stack([QUARTERS, QUARTERS]))


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks and the one that ends it."""
    chunks = [*chunks, (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels of it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png([(b"IHDR", header), (b"IDAT", zlib.compress(b""))])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.png", png_of(9_000, 9_000), "9000x9000 pixels, the most is 67108864; make it smaller"),
        ("a.png", png_of(60_000, 60_000), "it has too many pixels; make it smaller"),
        ("a.png", png_of(64, 64), "cut off or damaged"),
        ("a.png", png_of(64, 64).replace(b"@", b"A"), "it begins as a picture and is cut off or damaged"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", r"\(svg_pipe\) cannot be decoded; convert it"),
        ("a.txt", b"no picture", "it is no video, or is cut off or damaged"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC pictures are not supported; save it as PNG or JPEG"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_cause(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / name)
    with pytest.raises(InputError, match="no such file; check the path"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="it is a directory"):
        read_image(tmp_path)


def test_a_sent_picture_must_be_of_a_known_format() -> None:
    bitmap, sent = io.BytesIO(), io.BytesIO()
    Image.fromarray(QUARTERS).save(bitmap, "BMP")
    with pytest.raises(InputError, match="expected a picture as PNG or JPEG, got another kind of file; convert it to"):
        decode_image(bitmap.getvalue(), ("PNG", "JPEG"))
    Image.fromarray(QUARTERS).save(sent, "PNG")
    with pytest.raises(InputError, match="96x64 pixels, the most is 100"):
        decode_image(sent.getvalue(), ("PNG",), 100)
    for part in (20, 50, len(sent.getvalue()) - 30):
        with pytest.raises(InputError):
            decode_image(sent.getvalue()[:part], ("PNG",))
