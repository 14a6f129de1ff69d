"""Draw a measurement as SVG charts, coloured by the style sheet of `report.html.jinja`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from shotstream.bench.roofline import Roofline, ShotBreakdown, SpanCost
from shotstream.bench.timing import Percentiles
from shotstream.core.profiling import Span
from shotstream.core.spec import FPS

WIDTH, ROOF_HEIGHT, GAPS_HEIGHT, BAR_HEIGHT = 760, 400, 220, 40
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 16, 44
DOT, LETTER, LABEL_STEP = 5.5, 7.5, 19
AXIS_ROOM = 2.5
LEAST_LABELLED = 0.06
"""Share of a bar below which a part's name does not fit into it; the table has them all."""
SI_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def si(value: float, unit: str) -> str:
    """Format a number with three digits and an SI prefix: 790 TFLOP/s."""
    power = min(max(int(math.log10(value) // 3), 0), len(SI_PREFIXES) - 1) if value > 0 else 0
    return f"{value / 1000**power:.3g} {SI_PREFIXES[power]}{unit}"


def span_bar(shot: ShotBreakdown) -> str:
    """Draw the time of a shot as one stacked bar, span by span."""
    pieces, x = [], 0.0
    for name, seconds in (*((name, part.seconds) for name, part in shot.parts.items()), ("other", shot.other_s)):
        share = seconds / shot.total_s
        label = f'<text x="{x + share * WIDTH / 2:.1f}" y="{BAR_HEIGHT / 2}">{name}</text>'
        pieces.append(
            f'<g class="part {name}"><title>{name}: {seconds:.3f} s, {share:.1%}</title>'
            f'<rect x="{x:.1f}" y="0" width="{max(0.0, share * WIDTH - 1):.1f}" height="{BAR_HEIGHT}"/>'
            f"{label if share >= LEAST_LABELLED else ''}</g>"
        )
        x += share * WIDTH
    return svg("bar", BAR_HEIGHT, "The time of a shot, part by part", pieces)


def roofline_chart(shot: ShotBreakdown, roofline: Roofline) -> str:
    """Draw FLOP/s over FLOP/byte of every span below the roofline of the device."""
    parts = {name: part for name, part in shot.parts.items() if part.flop_per_s > 0}
    ridge = roofline.flop_per_s / roofline.bytes_per_s
    intensities = [part.work.flop / part.work.bytes for part in parts.values()]
    x = _Scale([ridge, *intensities], LEFT, WIDTH - RIGHT)
    y = _Scale([roofline.flop_per_s, *(part.flop_per_s for part in parts.values())], ROOF_HEIGHT - BOTTOM, TOP)
    foot = max(x.low, y.low / roofline.bytes_per_s)
    corners = [(foot, foot * roofline.bytes_per_s), (ridge, roofline.flop_per_s), (x.high, roofline.flop_per_s)]
    roof = " ".join(f"{x.at(flop_a_byte):.1f},{y.at(speed):.1f}" for flop_a_byte, speed in corners)
    return svg(
        "roofline",
        ROOF_HEIGHT,
        "Roofline",
        [
            *_grid(x, y),
            f'<polyline class="roof" points="{roof}"/>',
            f'<text class="roof" x="{WIDTH - RIGHT}" y="{y.at(roofline.flop_per_s) - 8:.1f}" text-anchor="end">'
            f"{si(roofline.flop_per_s, 'FLOP/s')}, {si(roofline.bytes_per_s, 'B/s')}</text>",
            *_points(parts, x, y),
        ],
    )


def gap_bars(gaps: Percentiles, frames: int) -> str:
    """Draw the median wait for each later chunk, beside how long its frames are shown."""
    shown_s = frames / FPS
    bottom = GAPS_HEIGHT - BOTTOM
    scale = (bottom - TOP) / (1.05 * max(shown_s, *gaps.by_chunk))
    step = (WIDTH - LEFT - RIGHT) / len(gaps.by_chunk)
    pieces = []
    for index, gap_s in enumerate(gaps.by_chunk):
        x, height = LEFT + index * step, gap_s * scale
        fits = height > LABEL_STEP
        pieces.append(
            f'<rect class="gap" x="{x + step * 0.2:.1f}" y="{bottom - height:.1f}" width="{step * 0.6:.1f}" '
            f'height="{height:.1f}"/><text class="value{" inside" if fits else ""}" x="{x + step / 2:.1f}" '
            f'y="{bottom - height + (15 if fits else -6):.1f}">{gap_s:.3g} s</text>'
            f'<text class="tick" x="{x + step / 2:.1f}" y="{bottom + 20}" text-anchor="middle">chunk {index + 2}</text>'
        )
    line = bottom - shown_s * scale
    pieces.append(
        f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{line:.1f}" y2="{line:.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{line:.1f}" text-anchor="end" dy="0.35em">{shown_s:g} s shown</text>'
    )
    return svg("gaps", GAPS_HEIGHT, "The wait for each chunk", pieces)


class _Scale:
    """A logarithmic axis that holds all values with room beyond them; `ticks` are 1, 2 and 5 times powers of ten."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = min(values) / AXIS_ROOM, max(values) * AXIS_ROOM
        self._start, self._end = start, end

    @property
    def ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
        found = [step * 10.0**power for power in powers for step in (1, 2, 5)]
        return [value for value in found if self.low <= value <= self.high]

    def at(self, value: float) -> float:
        return self._start + math.log(value / self.low) / math.log(self.high / self.low) * (self._end - self._start)


def _grid(x: _Scale, y: _Scale) -> Iterator[str]:
    bottom, middle = ROOF_HEIGHT - BOTTOM, (ROOF_HEIGHT - BOTTOM + TOP) / 2
    for value in x.ticks:
        at = f"{x.at(value):.1f}"
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="tick" x="{at}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>'
    for value in y.ticks:
        at = f"{y.at(value):.1f}"
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text class="tick" x="{LEFT - 8}" y="{at}" text-anchor="end" dy="0.35em">{si(value, "")}</text>'
    yield f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{ROOF_HEIGHT - 6}">operations a byte</text>'
    yield f'<text class="axis" transform="translate(14 {middle}) rotate(-90)">operations a second</text>'


def _points(parts: Mapping[Span, SpanCost], x: _Scale, y: _Scale) -> Iterator[str]:
    """Draw a dot for each span, with its name and efficiency beside it."""
    dots = {name: (x.at(part.work.flop / part.work.bytes), y.at(part.flop_per_s)) for name, part in parts.items()}
    taken = [(across - DOT, across + DOT, down) for across, down in dots.values()]
    for name, part in parts.items():
        across, down = dots[name]
        efficiency = f"{part.efficiency:.0%}"
        start, label = _free_place(across, down, LETTER * len(f"{name} {efficiency}"), taken)
        yield (
            f'<g class="part {name}"><title>{name}: {si(part.flop_per_s, "FLOP/s")}</title>'
            f'<line x1="{across:.1f}" y1="{down:.1f}" x2="{start - 3:.1f}" y2="{label:.1f}"/>'
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{DOT}"/>'
            f'<text x="{start:.1f}" y="{label:.1f}">{name}<tspan> {efficiency}</tspan></text></g>'
        )


def _free_place(
    across: float, down: float, width: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """Find and reserve a place for a label: beside its dot, or as near above or below as is free."""
    start = min(across + 2 * DOT, WIDTH - RIGHT - width)
    offsets = sorted((LABEL_STEP * step for step in range(-9, 10)), key=abs)
    places = [max(down + offset, TOP) for offset in offsets]

    def free(at: float) -> bool:
        return all(
            abs(at - row) >= LABEL_STEP * 0.9 or start > right or start + width < left for left, right, row in taken
        )

    label = next((at for at in places if free(at)), down)
    taken.append((start, start + width, label))
    return start, label


def svg(kind: str, height: float, title: str, pieces: Sequence[str], attributes: str = "") -> str:
    """Return an SVG element as wide as all charts."""
    return (
        f'<svg {attributes}class="{kind}" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(pieces)}</svg>"
    )
