"""What a server takes at most."""

MOST_BYTES = 32 * 2**20  # of a body: 256 base64 PNGs of 96 KiB
MOST_IMAGES, MOST_NFE = 256, 64  # in one call, of one image
MOST_EVALUATIONS = 1024  # in one call, images x NFE: 256 images at 4 NFE, or 16 at 64
LARGEST_SEED = 10**18
