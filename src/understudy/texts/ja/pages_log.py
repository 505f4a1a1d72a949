"""The page about the log, in Japanese."""

TEXTS = {
    "pages.log.search": "検索",
    "pages.log.level": "レベル",
    "pages.log.level.any": "すべてのレベル",
    "pages.log.level.warning": "警告以上",
    "pages.log.level.critical": "重大のみ",
    "pages.log.show": "表示",
    "pages.log.pause": "一時停止",
    "pages.log.follow": "表示を再開",
    "pages.log.following": "新しい行が上に追加されます。",
    "pages.log.paused": "一時停止中です。",
    "pages.log.paused_new": "一時停止中です。新しい行があります。",
    "pages.log.whole": "ログ全体を表示",
    "pages.log.gone": "この行は保存期間を過ぎました。前後の行を表示しています。",
    "pages.log.lines": "ログの行(新しい順)",
    "pages.log.fields": "項目 {count} 件",
    "pages.log.none": "まだ何も記録されていません。",
    "pages.log.none_found": "一致する行はありません。",
    "pages.log.pages": "ほかの行",
    "pages.log.newest": "最新へ",
    "pages.log.older": "以前の行",
}
