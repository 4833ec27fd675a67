"""Draw a Grafana dashboard as an SVG image, without Grafana: draw_dashboard.py PROMETHEUS_URL DASHBOARD.json IMAGE.svg.

The image shows the last minutes of the Prometheus server, for all services that it knows.
"""

import html
import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

# Pixels of a column and a row of Grafana's grid, and the space around a chart.
COLUMN, ROW = 42, 26
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 42
COLORS = ["#3274d9", "#e0752d", "#2f9e44", "#a352cc", "#c4162a", "#5b8a8a", "#8f3bb8", "#b8860b", "#6c757d", "#1f60c4"]
MINUTES = 3
STEP = 2  # seconds
SUFFIXES = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ")]
UNITS = {"s": "s", "percentunit": "%", "bytes": "B", "reqps": "/s", "ops": "/s", "short": ""}
Series = tuple[str, list[tuple[float, float]]]


def format_value(value: float, unit: str) -> str:
    """Return a value with its unit, such as `12 ms`."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    size, suffix = next((pair for pair in SUFFIXES if abs(value) >= pair[0]), (1, ""))
    return f"{value / size:.3g} {suffix}{UNITS[unit]}".strip()


def query(server: str, expression: str, legend: str, now: float) -> list[Series]:
    """Return the series of an expression in the last minutes, with their names."""
    expression = expression.replace("$__rate_interval", "10s").replace('="$service"', '=~".+"')
    span = {"start": now - MINUTES * 60, "end": now, "step": STEP}
    words = urllib.parse.urlencode({"query": expression, **span})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{words}") as response:
        result = json.load(response)["data"]["result"]
    found = []
    for series in result:
        name = legend
        for label, text in series["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", text)
        points = [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf", "-Inf")]
        found.append((name, points))
    return [series for series in found if series[1]]


def draw_panel(panel: dict[str, Any], series: list[Series], now: float) -> str:
    """Return a panel as SVG: a number, or lines with their names."""
    grid, unit = panel["gridPos"], panel["fieldConfig"]["defaults"]["unit"]
    width, height = grid["w"] * COLUMN - 8, grid["h"] * ROW - 8
    parts = [
        f'<g transform="translate({grid["x"] * COLUMN + 4} {grid["y"] * ROW + 4})">',
        f'<rect width="{width}" height="{height}" rx="4" fill="#fff" stroke="#d8dee4"/>',
        f'<text x="12" y="20" font-weight="600" fill="#1f2328">{html.escape(panel["title"])}</text>',
    ]
    values = [value for _, points in series for _, value in points]
    if not values:
        parts.append(f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">no data</text>')
    elif panel["type"] == "stat":
        text = format_value(series[0][1][-1][1], unit)
        parts.append(f'<text x="{width / 2}" y="{height * 0.72}" text-anchor="middle" font-size="28">{text}</text>')
    else:
        low, high = min(0, *values), max(values) or 1
        right, bottom = width - RIGHT, height - BOTTOM
        for share in (0, 0.5, 1):
            y = bottom - share * (bottom - TOP)
            parts.append(f'<path d="M{LEFT} {y:.0f}H{right}" stroke="#eaeef2"/>')
            label = format_value(low + share * (high - low), unit)
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{label}</text>')
        x = LEFT
        for number, (name, points) in enumerate(series):
            color = COLORS[number % len(COLORS)]
            line = " ".join(
                f"{right - (now - at) / (MINUTES * 60) * (right - LEFT):.1f},"
                f"{bottom - (value - low) / (high - low) * (bottom - TOP):.1f}"
                for at, value in points
            )
            parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
            if x + 7 * len(name) < width:
                parts.append(f'<text x="{x}" y="{height - 14}" fill="{color}">{html.escape(name)}</text>')
            x += 7 * len(name) + 16
    return "\n".join([*parts, "</g>"])


def draw(server: str, dashboard: dict[str, Any]) -> str:
    """Return a dashboard as SVG."""
    now = time.time()
    panels = []
    for panel in dashboard["panels"]:
        targets = panel["targets"]
        series = [one for target in targets for one in query(server, target["expr"], target["legendFormat"], now)]
        panels.append(draw_panel(panel, series, now))
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * ROW + 8
    size = f'viewBox="0 0 {24 * COLUMN + 8} {height}" role="img" aria-label="{html.escape(dashboard["title"])}"'
    style = 'font-family="system-ui,sans-serif" font-size="12" fill="#57606a"'
    body = "\n".join(panels)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


if __name__ == "__main__":
    url, source, image = sys.argv[1:]
    Path(image).write_text(draw(url, json.loads(Path(source).read_text(encoding="utf-8"))), encoding="utf-8")
