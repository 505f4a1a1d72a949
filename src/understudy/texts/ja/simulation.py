"""シミュレーションの文言."""

TEXTS = {
    "simulation.help": "ハブ、デーモン、依頼者を仮想の時計と不安定なネットワークの上で動かし、失われたもの、二重の実行、誤った報告がないことを確かめます。",
    "simulation.help_seeds": "試す世界の数",
    "simulation.help_seed": "この世界だけを再現します",
    "simulation.help_hubs": "各世界で 1 つのストアを共有するハブの数(既定: シードに応じて 1 または 2)",
    "simulation.help_sleeping": "各世界のハブを、Cloudflare のようにリクエストの合間に休眠させます(既定: およそ 6 つに 1 つの世界)",
    "simulation.help_mutant": "先にこの不具合をハブに仕込みます(検出されるはずのもの)",
    "simulation.no_mutant": "不具合 {mutant!r} はありません。指定できるもの: {known}",
    "simulation.no_mutants": "仕込む不具合は、インストールした understudy には含まれません。リポジトリのクローンから実行してください。",
    "simulation.progress": "世界 {worlds}、タスク {tasks}、リース {grants}: ここまで異常なし(毎秒 {per_s} 世界、1 秒あたり仮想 {speed} 秒)",
    "simulation.green": "世界 {worlds}、タスク {tasks}、リース {grants}: 不変条件はすべて守られました(毎秒 {per_s} 世界、1 秒あたり仮想 {speed} 秒)",
    "simulation.digest": "記録のダイジェスト: {digest}",
    "simulation.broken": "世界 {seed} で不変条件が破れました。{what}",
    "simulation.replay": "再現: make sim SEED={seed} または understudy verify {arguments}(記録のダイジェスト: {digest})",
}
