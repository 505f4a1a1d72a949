"""The commands for a store, in Japanese."""

TEXTS = {
    "cli.store.help": "ストア: 正しさの検査と、別のストアへのコピー。",
    "cli.store.check": "ストアのすべての行を読んで照合します。止まったままのものがないこと、トークンが増える一方であること、集計が正しいことを確かめます。STORE はパスまたは postgresql:// のアドレスで、省略するとこのマシンのハブのストアです。何も書き込まず、検査中もハブは動き続けられます。",
    "cli.store.absent": "{path} にストアはありません。別のストアは `understudy store check パス` で指定できます。",
    "cli.store.sound": "{store}(スキーマ {schema}): {rows} 行を読み、すべての不変条件が成り立っています。",
    "cli.store.unsound": "{store}(スキーマ {schema}): {rows} 行を読み、問題が {count} 件あります。何かを変える前に、ストアのコピーを取っておいてください。",
    "cli.store.more": "… ほかに {count} 件あります。`--json` では種類ごとに 1,000 件まで表示します。",
    "cli.progress.begun": "{table}: {total} 行中 {done} 行({percent} %)",
    "cli.progress.line": "{table}: {total} 行中 {done} 行({percent} %)、毎秒 {rate} 行、残り約 {left}",
}
