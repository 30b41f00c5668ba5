"""What every floor needs: names and their checks, files that are there whole or not at all, torchvision's import."""
