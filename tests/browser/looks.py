"""What every page must look like: views of it, and what a view may not have."""

from __future__ import annotations

from typing import Any, Final

from playwright.sync_api import Page

VIEWS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}, "device_scale_factor": 2},
    # 200 % zoom of a 1280 x 800 window is this many CSS pixels.
    "zoomed": {"color_scheme": "dark", "viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
}

SHIFTS = """
  window.shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""

POOR_TEXTS = """
  () => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    const ground = (node) => {
      for (; node; node = node.parentElement) {
        const colour = rgba(getComputedStyle(node).backgroundColor);
        if (colour[3] === 255) return colour;
      }
      return rgba("white");
    };
    const poor = [];
    for (const node of document.querySelectorAll("body *")) {
      const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!hasText || !node.checkVisibility()) continue;
      const { right, width } = node.getBoundingClientRect();
      if (width > 1 && right > innerWidth + 1) poor.push(`${node.className || node.tagName}: cut off at the right`);
      const pair = [luminance(rgba(getComputedStyle(node).color)), luminance(ground(node))];
      const [one, other] = pair.sort((a, b) => b - a);
      const ratio = (one + 0.05) / (other + 0.05);
      if (ratio < 4.5) poor.push(`${node.className || node.tagName}: ${ratio.toFixed(2)}`);
    }
    return poor;
  }
"""


def expect_fits(page: Page) -> None:
    """Nothing scrolls sideways, and no text is cut off or has too little contrast."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    for rows in page.locator(".rows:visible").all():
        assert rows.evaluate("(node) => node.scrollWidth - node.clientWidth") <= 0
    assert page.evaluate(POOR_TEXTS) == []
