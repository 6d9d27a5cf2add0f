# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, where there is one: Chromium, headless."""

import json
import re
import shutil
import subprocess
import tempfile
from html import unescape

import numpy as np
import pytest

from road_kd_seg.bags.reader import BagReader
from road_kd_seg.bags.writer import write_bag
from road_kd_seg.bundle import add_attachment, load_bundle
from road_kd_seg.replay.assess import assess
from road_kd_seg.replay.evaluate import segment_bag
from road_kd_seg.replay.gates import parse_gate
from road_kd_seg.replay.labels import LabelStore
from road_kd_seg.replay.report.build import build_report
from road_kd_seg.replay.report.write import write_report
from road_kd_seg.segmenter import Segmenter
from road_kd_seg.thresholds import KEY, ClassThreshold, Thresholds

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECTIONS = {"verdict", "doctor", "health", "pictures", "latency", "timeline", "counters", "environment"}
WITH_LABELS = {"accuracy", "confusion", "obstacles", "calibration", "comparison", "promise"}

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium)"),
    pytest.mark.xdist_group("page"),  # one worker writes the reports
]

MEASURE = """<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll"))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className);
  const broken = [...document.images].filter(i => i.closest("figure, section") && !i.naturalWidth).length;
  document.title = JSON.stringify({
    width: innerWidth, wide, broken, sections: [...document.querySelectorAll("section[id]")].map(s => s.id),
    video: document.querySelectorAll("video").length,
  });
});
</script>"""


def browse(*arguments):
    """Standard output and error of a browser without profile, network or sandbox."""
    with tempfile.TemporaryDirectory() as profile:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += [f"--user-data-dir={profile}", "--disable-dev-shm-usage", "--virtual-time-budget=10000", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def pages(tmp_path_factory, tiny_bundle):
    """Reports of the same drive with labels, compared with itself, and without."""
    from recordings import make_frame

    folder = tmp_path_factory.mktemp("pages")
    write_bag(folder / "bag", [make_frame(number, 96, 160) for number in range(30)])
    promised = shutil.copytree(tiny_bundle, folder / "bundle")
    classes = {"negative_obstacle": ClassThreshold(0.125, 12)}
    thresholds = Thresholds(0.05, 0.9, 5.0, "fp32", "another drive", classes)
    add_attachment(promised, KEY, thresholds.to_yaml(), min_agreement=None)
    bundle, unpromised = load_bundle(promised), {"positive_obstacle": "8 blocks of 5 s show it, 9 are needed"}
    with BagReader(folder / "bag") as reader:
        labels = LabelStore.of(reader.label_images())
        (run,) = segment_bag(reader, [Segmenter.from_bundle(promised, device="cpu")], labels)
        gates = tuple(parse_gate(text, bundle.taxonomy.names) for text in ("miou>=0.9", "latency_ms/p50<=1e6"))
        first = assess(reader, bundle, run, labels, "the test")
        other = first.as_contender(build_report(reader, first))
        full = assess(reader, bundle, run, labels, "the test", gates, 0.0, (other,), unpromised)
        write_report(folder / "labeled", reader, full)
        write_report(folder / "unlabeled", reader, assess(reader, bundle, run, LabelStore(), "nobody"))
    return folder


def measured(page, folder, width):
    """What the page says of itself at a width, and what it complains of."""
    copy = folder / f"measured_{width}.html"
    copy.write_text(page.read_text() + MEASURE)
    # A frame of that width: the window itself cannot be as narrow as a phone.
    frame = folder / f"frame_{width}.html"
    frame.write_text(
        f"""<iframe id="f" src="{copy.name}" style="width:{width}px;height:900px;border:0"></iframe>
        <script>f.onload = () => setTimeout(() => document.title = f.contentDocument.title, 200);</script>"""
    )
    log = ["--allow-file-access-from-files", "--window-size=1500,1000", "--enable-logging=stderr", "--v=0"]
    out, err = browse(*log, "--dump-dom", frame.as_uri())
    title = re.search(r"<title>(.*?)</title>", out, re.DOTALL)
    assert title, out[:500]
    return json.loads(unescape(title[1])), [line for line in err.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
class TestPage:
    @pytest.mark.parametrize("width", [1440, 390])
    @pytest.mark.parametrize(("kind", "sections"), [("labeled", SECTIONS | WITH_LABELS), ("unlabeled", SECTIONS)])
    def test_every_section_fits_and_nothing_complains(self, pages, tmp_path, kind, sections, width):
        found, complaints = measured(pages / kind / "report.html", tmp_path, width)
        assert complaints == []
        assert found["width"] == width
        assert set(found["sections"]) == sections
        assert found["wide"] == []
        assert found["broken"] == 0
        assert found["video"] == 1

    @pytest.mark.parametrize("kind", ["labeled", "unlabeled"])
    def test_it_prints(self, pages, tmp_path, kind):
        pdf = tmp_path / "report.pdf"
        browse(f"--print-to-pdf={pdf}", "--no-pdf-header-footer", (pages / kind / "report.html").as_uri())
        content = pdf.read_bytes()
        assert content.startswith(b"%PDF")
        assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12

    def test_no_path_of_this_machine_is_in_it(self, pages):
        for kind in ("labeled", "unlabeled"):
            for name in ("report.html", "report.json", "per_frame.csv"):
                assert str(pages.parent) not in (pages / kind / name).read_text()
        assert np.all([(pages / kind / "report.json").exists() for kind in ("labeled", "unlabeled")])
