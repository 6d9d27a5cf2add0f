# SPDX-License-Identifier: Apache-2.0
"""Photographs the head of a report in Chromium, for the README.

python docs/draw_report.py out/demo docs/images/report.webp
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1100, 1070


def main() -> None:
    """Write the picture."""
    folder, target = map(Path, sys.argv[1:])
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("needs Chromium: apt install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "report.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options.append(f"--window-size={WIDTH},{HEIGHT}")
        page = (folder / "report.html").resolve().as_uri()
        subprocess.run([browser, *options, f"--screenshot={picture}", page], check=True, capture_output=True)
        Image.open(picture).convert("RGB").save(target, quality=80)


if __name__ == "__main__":
    main()
