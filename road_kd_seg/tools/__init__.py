# SPDX-License-Identifier: Apache-2.0
"""Console tools on top of everything else in the runtime."""
