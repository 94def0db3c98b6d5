"""What buyers read on the sandbox's pages, one module for each language; words.py chooses. Short sentences: what happened, and what to do now."""
