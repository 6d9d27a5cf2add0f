"""What several distillation methods share."""
