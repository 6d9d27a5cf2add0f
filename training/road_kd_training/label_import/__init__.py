"""Labels as annotation tools export them → frames with class ids, by class name."""
