"""What leaving early does, measured on labelled images: quadrants, curves, and the pictures that show them."""
