"""The status page for everybody, in Japanese."""

TEXTS = {
    "pages.status.title": "ステータス",
    "pages.status.at": "{time} 時点",
    "pages.status.again": "再表示",
    "pages.status.daemons": "デーモン",
    "pages.status.daemon": "デーモン {number}",
    "pages.status.worst.bad": "問題が発生しています",
    "pages.status.worst.calm": "問題はありませんが、稼働していないデーモンがあります",
    "pages.status.ended": "{begin} から {end} まで",
    "pages.status.lasts": "{begin} から継続中",
    "pages.status.no_incident": "直近 7 日間にはありません。",
}
