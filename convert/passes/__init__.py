"""Changes to the file on its way from float to integer, one module each. `convert/emit/integer.py` lists them in order.

A pass names the tensors that it adds, and gives grids to constants that it makes. What a pass over the float file changes leaves the float
network's result as it was (to 1e-4 of the embedding's norm): the tests run the file before and after.
"""
