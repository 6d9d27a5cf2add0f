# SPDX-License-Identifier: Apache-2.0
"""Camera images to network input, shared by the node and by training so that both see the same tensors."""
