# SPDX-License-Identifier: Apache-2.0
"""Labels as annotation tools export them → frames with class ids, by class name."""
