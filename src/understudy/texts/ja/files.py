"""Files that a program cannot use as they are."""

TEXTS = {
    "files.planted": "{path} には書き込みません。ディレクトリ {directory} には他のユーザーも書き込めるうえ、これはリンクかパイプ、または他のユーザーのファイルです。削除するか、ディレクトリへの他のユーザーの書き込み権限を外してください。",
}
