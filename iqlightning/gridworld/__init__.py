"""The study's world: its game, expert, encoders that read its planes, evaluation, pictures, page and experiments."""
