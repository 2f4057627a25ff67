"""Networks and their parts: layers, embeddings, activations, losses, metrics, optimizers, schedules."""
