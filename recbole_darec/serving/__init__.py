"""From a trained model to its use: recommendations, neighbours, exported vectors."""
