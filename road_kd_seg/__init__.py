"""Real-time segmentation of potholes, obstacles and lane markings from an RGB-D camera."""

__version__ = "0.1.0"
