"""Files that a program cannot use as they are."""

TEXTS = {
    "files.planted": "{path} is not written: others may write the directory {directory}, and this is a link, a pipe or a file of somebody else. Remove it, or take their right to write from the directory.",
}
