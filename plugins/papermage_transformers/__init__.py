"""The context encoder `hf`: any Hugging Face transformer, wordpieces in, a vector for each unit out."""
