"""Changes to the float file before it is quantized: one file each, `apply(model, roles, grids)`, all three changed in place.

`roles` gives each computed tensor's role by its name; a pass names the tensors that it adds, and gives grids to constants that it makes.
What a pass changes leaves the float network's result as it was (to 1e-4 of the embedding's norm): the tests run the file before and after.
"""
