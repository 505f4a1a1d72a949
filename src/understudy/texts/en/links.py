"""The pages of links that act."""

TEXTS = {
    "links.gone": "This link is unknown or has expired. `understudy incidents list` shows what is open.",
    "links.used": "This link was used already; it acts once. `understudy incidents list` shows what is open.",
    "links.too_many": "Too many unknown links from this address. Wait a minute.",
    "links.trouble": "The hub cannot do this right now. Try again in a moment.",
    "links.acknowledge.ask": "Have you seen that {daemon} is silent? There will be no more reminders of it; its return is still told.",
    "links.acknowledge.button": "I have seen it",
    "links.acknowledge.done": "Noted: somebody has seen that {daemon} is silent.",
    "links.snooze.ask": "Shall the reminders about {daemon} pause for an hour?",
    "links.snooze.button": "Pause for an hour",
    "links.snooze.done": "The reminders about {daemon} pause for an hour.",
}
