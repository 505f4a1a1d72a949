"""The page of deployments, in Japanese."""

TEXTS = {
    "pages.deployments.hub": "ハブ",
    "pages.deployments.hub.what": "このハブの起動の記録です。直近の {count} 件まで表示します。",
    "pages.deployments.daemons": "デーモン",
    "pages.deployments.daemons.what": "起動後の最初のハートビートで報告された内容です。ログをさかのぼれる範囲で、直近の {count} 件まで表示します。",
    "pages.deployments.none": "保存期間内の起動はありません。",
    "pages.deployments.no_version": "バージョンの報告なし",
    "pages.deployments.from": "{version} から更新",
    "pages.deployments.first": "初めて確認",
    "pages.deployments.settings": "設定に変更あり",
    "pages.deployments.runs": "稼働中",
    "pages.deployments.fingerprint": "設定 {hash}",
}
