"""Training and distillation for road_kd_seg."""
