"""The page of settings, in Japanese."""

TEXTS = {
    "pages.settings.what": "このハブが起動時に読み込み、現在使っている設定です。変更するには、ハブの環境変数か understudy.toml を書き換えて、ハブを再起動してください。デーモンの設定は、それぞれのマシンにあります。",
    "pages.settings.filter": "表示する設定",
    "pages.settings.all": "すべて",
    "pages.settings.only": "変更したもの",
    "pages.settings.counted": "{count} 件",
    "pages.settings.secret": "設定済み(表示しません)",
    "pages.settings.unset": "未設定",
    "pages.settings.empty": "空",
    "pages.settings.default": "既定値",
    "pages.settings.none": "すべて既定値のままです。",
    "pages.settings.origin.default": "既定値",
    "pages.settings.origin.file": "ファイル",
    "pages.settings.origin.environment": "環境変数",
    "pages.settings.origin.option": "コマンドラインの指定",
    "pages.settings.origin.saved": "このハブ用に作成して保存:",
    "pages.settings.origin.adapted": "ほかの設定に合わせて調整",
}
