"""The local web page: play with the arrow keys, record demonstrations, watch checkpoints."""
