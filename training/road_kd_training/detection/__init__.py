# SPDX-License-Identifier: Apache-2.0
"""Object detection: detectors that are trained and distilled like the segmenters, for CWD's Table 6."""
