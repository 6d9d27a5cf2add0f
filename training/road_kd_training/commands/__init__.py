# SPDX-License-Identifier: Apache-2.0
"""One file per command of `road-kd`: a parser, and what to do with what it read."""
