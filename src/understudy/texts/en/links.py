"""The pages of links that act."""

TEXTS = {
    "links.gone": "This link is unknown or has expired. `understudy incidents list` shows the incidents.",
    "links.empty": "There is nothing here any more: the link has expired, or its answer or incident is not kept.",
    "links.used": "This link has been used; it works once. `understudy incidents list` shows the incidents.",
    "links.too_many": "Too many unknown links from this address. Wait a minute.",
    "links.trouble": "The hub cannot do this right now. Try again in a moment.",
    "links.acknowledge.ask": "Have you seen that {daemon} is silent? There will be no more reminders or escalations; the recovery is still sent.",
    "links.acknowledge.button": "I have seen it",
    "links.acknowledge.done": "The incident of {daemon} is acknowledged.",
    "links.snooze.ask": "Pause the reminders and escalations about {daemon} for an hour?",
    "links.snooze.button": "Pause for an hour",
    "links.snooze.done": "The reminders and escalations about {daemon} pause for an hour.",
}
