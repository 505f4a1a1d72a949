"""What people asked and got on the day of `story.py`, in both languages."""

from __future__ import annotations

from typing import NamedTuple

Asked = tuple[str, str]  # a task and its answer


class Story(NamedTuple):
    """The texts of a day."""

    person: str
    done: tuple[Asked, ...]
    machine_task: str  # runs when the Mac dies
    machine_answer: str
    taken_over: tuple[Asked, ...]
    failing: Asked  # a task and its error
    running: Asked  # a task and its progress
    waiting: str


STORIES = {
    "en": Story(
        person="aiko",
        done=(
            (
                "Check the nightly backup and tell me if anything is missing",
                "All 14 folders are there; 212 GB, 0 errors.",
            ),
            ("Renew the certificate of the staging server", "Renewed until 27 February."),
            (
                "Update the dependencies of shop-api and run its tests",
                "31 updated, 412 tests passed. The branch is pushed.",
            ),
            ("Sort the photos of the autumn trip by day", "1,284 photos in 9 folders; 17 duplicates are in `double`."),
        ),
        machine_task="Transcribe the recording of Monday's meeting",
        machine_answer="42 minutes, 3 speakers. The transcript is in ~/Meetings/monday.txt.",
        taken_over=(
            (
                "What do I have to bring to the tax office tomorrow?",
                "Your passport, the notice of assessment and the form that came with it. I cannot see your files.",
            ),
            ("Draft a polite reply that we need one more week", "Dear Ms Tanaka, thank you for your patience. …"),
            ("Explain in two sentences what a lease is", "A lease is a right to something for a limited time. …"),
        ),
        failing=("Print the delivery notes for Friday", "lp: The printer or class does not exist."),
        running=("Write the release notes for version 2.4", "Reading the 58 commits since version 2.3"),
        waiting="Remind me to call the landlord",
    ),
    "ja": Story(
        person="愛子",
        done=(
            (
                "夜間バックアップを確認して、足りないものがあれば教えて",
                "14 個のフォルダーがすべてあります。212 GB、エラーは 0 件です。",
            ),
            ("検証サーバーの証明書を更新して", "2 月 27 日まで更新しました。"),
            (
                "shop-api の依存関係を更新してテストを実行して",
                "31 件を更新し、412 件のテストに合格しました。ブランチを push 済みです。",
            ),
            (
                "秋の旅行の写真を日付ごとに整理して",
                "1,284 枚を 9 個のフォルダーに分けました。重複 17 枚は「重複」にあります。",
            ),
        ),
        machine_task="月曜の会議の録音を文字に起こして",
        machine_answer="42 分、話者は 3 名です。文字起こしは ~/会議/月曜.txt にあります。",
        taken_over=(
            (
                "明日、税務署に何を持って行けばいい?",
                "本人確認書類、通知書、同封の用紙の三点です。お手元のファイルは確認できていません。",
            ),
            ("もう一週間必要だという丁寧な返信の下書きを書いて", "田中様、お待たせしており申し訳ございません。…"),
            ("リースとは何か、二文で説明して", "リースとは、期限付きで何かを使う権利です。…"),
        ),
        failing=("金曜日の納品書を印刷して", "lp: プリンターが見つかりません。"),
        running=("バージョン 2.4 のリリースノートを書いて", "バージョン 2.3 以降の 58 件のコミットを読んでいます"),
        waiting="大家さんへの電話を思い出させて",
    ),
}
