"""Layouts that are known and not read: how to convert each."""

import posixpath

from fewstep.data.file_tree import FileTree
from fewstep.data.formats import NOT_READ, WORDS, suffix_of
from fewstep.data.layouts import arrays
from fewstep.support.errors import InvalidInput

DATASET_TOOL = "with EDM's dataset_tool.py (--source=FOLDER --dest=images.zip), and give the zip"
AS_PNG = "write its pictures as PNG into a folder for each class"
AS_NPZ = "save images and labels as arrays: np.savez('images.npz', images=..., labels=...)"
KNOWN = {  # the end of a file's name, or all of it: (what it is, what to do with its FOLDER or with the FILE)
    "data.mdb": ("an lmdb, as LSUN comes", f"convert it {DATASET_TOOL}"),
    "dataset_dict.json": (
        "a data set of save_to_disk",
        "datasets.load_from_disk('FOLDER')['train'].to_parquet('train.parquet')",
    ),
    "dataset_info.json": (
        "a data set of save_to_disk",
        "datasets.load_from_disk('FOLDER').to_parquet('train.parquet')",
    ),
    ".arrow": ("Arrow files", "datasets.Dataset.from_file('FILE').to_parquet('train.parquet')"),
    ".parquet": (
        "Parquet files",
        "set data.source.name=parquet, data.source.train='FILE' (a pattern such as 'FOLDER/train*' names several), and "
        "data.source.test if there is one",
    ),
    ".tfrecord": ("TFRecords", f"{AS_PNG}, by tf.data.TFRecordDataset"),
    ".tfrecords": ("TFRecords", f"{AS_PNG}, by tf.data.TFRecordDataset"),
    ".mat": ("MATLAB files", f"read them by scipy.io.loadmat, and {AS_NPZ}"),
    ".h5": ("HDF5 files", AS_NPZ),
    ".hdf5": ("HDF5 files", AS_NPZ),
    "ubyte": ("IDX files, as MNIST comes", AS_NPZ),
    "ubyte.gz": ("IDX files, as MNIST comes", AS_NPZ),
    ".rec": ("RecordIO files of MXNet", f"{AS_PNG}, by mx.recordio"),
    ".beton": ("FFCV's files", f"{AS_PNG}, from the data that they were made of"),
    ".pt": ("PyTorch's files, which are pickles and are not opened", f"{AS_NPZ}, uint8 [N, C, H, W]"),
    ".pkl": ("pickles, which are not opened", AS_NPZ),
    ".rar": ("a rar archive", "unpack it and give the folder"),
    ".7z": ("a 7z archive", "unpack it and give the folder"),
    ".zip": ("zip archives", "give the path of one, or unpack them"),
    ".tar": ("tar archives of another layout than WebDataset's", "give the path of one, or unpack them"),
}


def no_pictures(tree: FileTree) -> InvalidInput:
    """The error of a place without a picture: what it holds, and how that can be read."""
    for end, (what, remedy) in KNOWN.items():
        file = next((file for file in tree.files if posixpath.basename(file).endswith(end)), None)
        if file is not None:
            places = {"FOLDER": tree.name(posixpath.dirname(file)).rstrip("/"), "FILE": tree.name(file)}
            for word, place in places.items():
                remedy = remedy.replace(word, place)
            return InvalidInput(f"{tree.place} holds {what} ({file}): this is not read as it is. Instead: {remedy}.")
    if found := arrays.in_words(tree):
        return InvalidInput(
            f"{tree.place} holds arrays that are no images: {found}. Images are uint8, [N, H, W, C], [N, C, H, W] or "
            "[N, H, W], with 1, 3 or 4 channels."
        )
    others = [file for file in tree.files if suffix_of(file) in NOT_READ]
    if others:
        return InvalidInput(
            f"{tree.place} holds pictures of a format that is not read ({others[0]}, {len(others):,} in all). Convert "
            f"them to one of {WORDS}."
        )
    rest = f" It holds {len(tree.files):,} other files ({tree.files[0]})." if tree.files else ""
    return InvalidInput(f"{tree.place} and its sub-folders hold no picture ({WORDS}).{rest}")
