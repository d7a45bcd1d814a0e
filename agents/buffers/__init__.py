"""What learners ask of Stable-Baselines3's buffers beside training: samples drawn apart from it, and what they hold."""
