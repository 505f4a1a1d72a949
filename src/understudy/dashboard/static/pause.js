// A fragment may pause: by its button, when something in it is opened or has the focus, and while its beginning is out of sight.
"use strict";
for (const button of document.querySelectorAll("[data-pause]")) {
  const AWAY_PX = 80;
  const place = document.querySelector(`[data-live="${button.dataset.pause}"]`);
  const note = document.querySelector("[data-pause-note]");
  const words = { stop: button.textContent, going: note.textContent };
  let why = "", held = null; // the reason of the pause, and the newest that came meanwhile
  const say = () => {
    button.textContent = why ? button.dataset.go : words.stop;
    note.textContent = !why ? words.going : held ? note.dataset.new : note.dataset.paused;
  };
  const pause = (reason) => { why = reason; say(); };
  const follow = () => {
    const message = held;
    why = "";
    held = null;
    say();
    if (message) dispatchEvent(new CustomEvent("come", { detail: message }));
  };
  place.addEventListener("coming", (event) => {
    if (!why) return place.replaceChildren(); // lines are drawn anew: none that stands there moves
    event.preventDefault();
    held = event.detail;
    say();
  });
  button.addEventListener("click", () => {
    if (!why) return pause("button");
    scrollTo({ top: 0 });
    follow();
  });
  place.addEventListener("toggle", ({ target }) => { if (target.open && !why) pause("opened"); }, true);
  place.addEventListener("focusin", () => { if (!why) pause("focus"); });
  addEventListener("scroll", () => {
    const isAway = place.getBoundingClientRect().top < -AWAY_PX;
    if (isAway && !why) pause("scroll");
    else if (!isAway && why === "scroll") follow();
  }, { passive: true });
  button.hidden = false;
}
