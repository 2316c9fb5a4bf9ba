"""The fused engine, for the Citrinet family: checkpoint, features, encoder, text."""
