"""Layouts that are known and not read: how to convert each."""

import posixpath

from fewstep.data.file_tree import FileTree
from fewstep.data.formats import NOT_READ, WORDS, suffix_of
from fewstep.data.layouts import arrays
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import HEAD, file_kind

DATASET_TOOL = "with EDM's dataset_tool.py (--source=FOLDER --dest=images.zip), and give the zip"
AS_PNG = "write its pictures as PNG into a folder for each class"
AS_NPZ = "save images and labels as arrays: np.savez('images.npz', images=..., labels=...)"
VIDEOS = ("videos", "write their frames as pictures: ffmpeg -i 'FILE' frames/%06d.png")
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
    ".feather": ("Arrow files", "pandas.read_feather('FILE').to_parquet('train.parquet')"),
    ".npy.gz": ("compressed arrays", "unpack them by gunzip"),
    ".mp4": VIDEOS,
    ".webm": VIDEOS,
    ".avi": VIDEOS,
    ".mov": VIDEOS,
    ".rar": ("a rar archive", "unpack it and give the folder"),
    ".7z": ("a 7z archive", "unpack it and give the folder"),
    ".zip": ("zip archives", "give the path of one, or unpack them"),
    ".tar": ("tar archives of another layout than WebDataset's", "give the path of one, or unpack them"),
    ".csv": ("tables", f"if they hold pixels, {AS_NPZ}; if they name pictures, give the folder of these"),
}


def no_pictures(tree: FileTree) -> InvalidInput:
    """The error of a place without a picture: what it holds, and how that can be read."""
    for end, (what, remedy) in KNOWN.items():
        file = next((file for file in tree.files if posixpath.basename(file).endswith(end)), None)
        if file is not None:
            path = tree.name(file)
            for word, place in {"FOLDER": posixpath.dirname(path) or ".", "FILE": path}.items():
                remedy = remedy.replace(word, place)
            example = "" if tree.alone else f" ({file})"
            return InvalidInput(f"{tree.place} holds {what}{example}: this is not read as it is. Instead: {remedy}.")
    if found := arrays.in_words(tree):
        return InvalidInput(
            f"{tree.place} holds arrays that are no images: {found}. Images are uint8, [N, H, W, C], [N, C, H, W] or "
            "[N, H, W], with 1, 3 or 4 channels."
        )
    others = [file for file in tree.files if suffix_of(file) in NOT_READ]
    if others:
        example = "" if tree.alone else f" ({others[0]}, {len(others):,} in all)"
        return InvalidInput(
            f"{tree.place} holds pictures of a format that is not read{example}. Convert them to one of {WORDS}."
        )
    if tree.alone:
        return _no_picture(tree)
    count = "one other file" if len(tree.files) == 1 else f"{len(tree.files):,} other files"
    rest = f" There {'is' if len(tree.files) == 1 else 'are'} {count} ({tree.files[0]})." if tree.files else ""
    return InvalidInput(f"{tree.place} and its sub-folders hold no picture ({WORDS}).{rest}")


def _no_picture(tree: FileTree) -> InvalidInput:
    """The error of one file that is not called like anything that is read."""
    with tree.open_file(tree.files[0]) as file:
        kind = file_kind(file.read(HEAD))
    content = f" By its content it is {kind}." if kind else ""
    return InvalidInput(
        f"{tree.place} must be a folder, a picture ({WORDS}), an archive (.zip, .tar, .tar.gz) or arrays (.npz, .npy) "
        f"by its name.{content}"
    )
