"""Classic control: Gymnasium's own physics, with what a stream of tasks changes as arguments, and with their state."""
