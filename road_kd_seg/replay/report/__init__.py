# SPDX-License-Identifier: Apache-2.0
"""The report of a replay: HTML page, JSON, CSV."""
